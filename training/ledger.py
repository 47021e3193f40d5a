"""Which run consumed which pair: marks and their undoing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from memory.bulk import insert_rows, key_list
from memory.models import PreferencePair, SftPair
from training.datasets import Record
from training.models import PairUse, TrainingRun
from training.sampling.plan import Channel

_COLUMNS = ("run_id", "sft_pair_id", "preference_pair_id", "step", "epoch", "weight", "content_hash", "used_at")
PAIRS: Mapping[Channel, type[SftPair] | type[PreferencePair]] = {"sft": SftPair, "preference": PreferencePair}


@dataclass(frozen=True, slots=True)
class UsedBatch:
    """A batch that took part in a step; `weight` is what each of its pairs weighs in the step's loss."""

    channel: Channel
    records: Sequence[Record]
    epoch: int
    weight: float


def record_step(run: TrainingRun, *, step: int, batches: Sequence[UsedBatch]) -> None:
    """Mark the pairs of one optimiser step as used, with a ledger row each, in one short transaction.

    A step that the ledger holds already, as after a run went on from a checkpoint, is not written again. Records that
    came from a file are no pairs, and those of pairs that were deleted since the run began are none any more: they
    leave no mark here. A pair whose text was corrected since has its row in the ledger, and is not marked: its new
    text was never trained.
    """
    if step <= run.steps:
        return
    now = timezone.now()
    with transaction.atomic():
        for batch in batches:
            present = _present(batch)
            trained = [
                record.id
                for record in batch.records
                if record.id is not None and present.get(record.id) == record.content_hash
            ]
            if trained:
                PAIRS[batch.channel].objects.mark_used(trained, training_epoch=batch.epoch, used_timestamp=now)
            insert_rows(PairUse, _COLUMNS, _rows(run, step, batch, present, now=now))
        run.advance(step)


def _present(batch: UsedBatch) -> dict[int, str]:
    """Return the keys of the batch's pairs that are still there, each with the hash of its text as it is now.

    They are locked, so that they stay as they are until the step is written.
    """
    pairs = PAIRS[batch.channel].objects
    ids = [record.id for record in batch.records if record.id is not None]
    if not ids:
        return {}
    found = pairs.filter(pk__in=key_list(ids, using=pairs.db)).order_by("pk").select_for_update()
    return dict(found.values_list("pk", "content_hash"))


def _rows(
    run: TrainingRun, step: int, batch: UsedBatch, present: Collection[int], *, now: datetime
) -> list[tuple[object, ...]]:
    is_sft = batch.channel == "sft"
    return [
        (
            *(run.pk, record.id if is_sft else None, None if is_sft else record.id),
            *(step, batch.epoch, batch.weight, record.content_hash, now),
        )
        for record in batch.records
        if record.id in present
    ]


def release(run: TrainingRun) -> int:
    """Set the pairs free that only `run` has used, after it ended without an adapter; return how many.

    Its ledger rows stay: what happened, happened. A pair is kept by any other run that has an adapter or may get one.
    """
    released = 0
    with transaction.atomic():
        for model, link in ((SftPair, "sft_pair"), (PreferencePair, "preference_pair")):
            uses = PairUse.objects.filter(**{link: OuterRef("pk")})
            kept = uses.exclude(run__status=TrainingRun.Status.FAILED).exclude(run=run)
            released += model.objects.filter(Exists(uses.filter(run=run)), ~Exists(kept)).update(
                is_used=False, used_timestamp=None, training_epoch=None
            )
    return released
