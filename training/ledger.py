"""Which run consumed which pair: marks and their undoing."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from memory.bulk import insert_rows
from memory.models import PreferencePair, SftPair
from training.datasets import Record, SftRecord
from training.models import PairUse, TrainingRun

_COLUMNS = ("run_id", "sft_pair_id", "preference_pair_id", "step", "epoch", "weight", "content_hash", "used_at")


def record_use(*, run: TrainingRun, records: Sequence[Record], step: int, epoch: int, weight: float) -> None:
    """Mark the pairs of one batch as used, with a ledger row each, in one short transaction."""
    now = timezone.now()
    ids = [record.id for record in records]
    is_sft = isinstance(records[0], SftRecord)
    rows = [
        (
            *(run.pk, record.id if is_sft else None, None if is_sft else record.id),
            *(step, epoch, weight, record.content_hash, now),
        )
        for record in records
    ]
    with transaction.atomic():
        if is_sft:
            SftPair.objects.mark_used(ids, training_epoch=epoch, used_timestamp=now)
        else:
            PreferencePair.objects.mark_used(ids, training_epoch=epoch, used_timestamp=now)
        insert_rows(PairUse, _COLUMNS, rows)


def release(run: TrainingRun) -> int:
    """Set the pairs free that only `run` has used, after it ended without an adapter; return how many.

    Its ledger rows stay: what happened, happened.
    """
    released = 0
    with transaction.atomic():
        for model, link in ((SftPair, "sft_pair"), (PreferencePair, "preference_pair")):
            uses = PairUse.objects.filter(**{link: OuterRef("pk")})
            kept = uses.filter(run__status__in=[TrainingRun.Status.SUCCEEDED, TrainingRun.Status.RUNNING])
            released += model.objects.filter(Exists(uses.filter(run=run)), ~Exists(kept.exclude(run=run))).update(
                is_used=False, used_timestamp=None, training_epoch=None
            )
    return released
