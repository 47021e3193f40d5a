"""Which run consumed which pair: marks and their undoing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from memory.bulk import insert_rows
from memory.models import PreferencePair, SftPair
from training.datasets import Record
from training.models import PairUse, TrainingRun
from training.sampling.plan import Channel

_COLUMNS = ("run_id", "sft_pair_id", "preference_pair_id", "step", "epoch", "weight", "content_hash", "used_at")


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
    came from a file are no pairs: they leave no mark here.
    """
    if step <= run.steps:
        return
    now = timezone.now()
    with transaction.atomic():
        for batch in batches:
            _mark(batch, now=now)
            insert_rows(PairUse, _COLUMNS, _rows(run, step, batch, now=now))
        run.advance(step)


def _mark(batch: UsedBatch, *, now: datetime) -> None:
    ids = [record.id for record in batch.records if record.id is not None]
    if not ids:
        return
    if batch.channel == "sft":
        SftPair.objects.mark_used(ids, training_epoch=batch.epoch, used_timestamp=now)
    else:
        PreferencePair.objects.mark_used(ids, training_epoch=batch.epoch, used_timestamp=now)


def _rows(run: TrainingRun, step: int, batch: UsedBatch, *, now: datetime) -> list[tuple[object, ...]]:
    is_sft = batch.channel == "sft"
    return [
        (
            *(run.pk, record.id if is_sft else None, None if is_sft else record.id),
            *(step, batch.epoch, batch.weight, record.content_hash, now),
        )
        for record in batch.records
        if record.id is not None
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
