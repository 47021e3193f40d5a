"""Which run consumed which pair: marks and their undoing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from memory.bulk import insert_rows, key_list, update_rows
from memory.models import PreferencePair, SftPair
from training.datasets import Record
from training.models import PairUse, TrainingRun
from training.sampling.plan import Channel

_MARK = ("is_used", "used_timestamp", "training_epoch")
# The mark that a use found.
_FOUND = ("was_used", "former_used_timestamp", "former_training_epoch")
_COLUMNS = (
    *("run_id", "sft_pair_id", "preference_pair_id", "step", "epoch", "weight", "content_hash", "used_at"),
    *_FOUND,
)
PAIRS: Mapping[Channel, type[SftPair] | type[PreferencePair]] = {"sft": SftPair, "preference": PreferencePair}


@dataclass(frozen=True, slots=True)
class UsedBatch:
    """A batch that took part in a step; `weight` is what each of its pairs weighs in the step's loss."""

    channel: Channel
    records: Sequence[Record]
    epoch: int
    weight: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a pair says of its last use, and whether it counts as used."""

    is_used: bool
    timestamp: datetime | None
    epoch: int | None


@dataclass(frozen=True, slots=True)
class _Present:
    """A pair that is there: the hash of its text as it is now, and its mark."""

    content_hash: str
    mark: _Mark


@dataclass(frozen=True, slots=True)
class _Use:
    """A use of a pair: whether its run has left no adapter and will leave none, when, and the mark that it found."""

    is_fruitless: bool
    used_at: datetime
    was_used: bool | None
    former_timestamp: datetime | None
    former_epoch: int | None


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
                if record.id is not None
                and (found := present.get(record.id)) is not None
                and found.content_hash == record.content_hash
            ]
            if trained:
                PAIRS[batch.channel].objects.mark_used(trained, training_epoch=batch.epoch, used_timestamp=now)
            insert_rows(PairUse, _COLUMNS, _rows(run, step, batch, present, now=now))
        run.advance(step)


def _present(batch: UsedBatch) -> dict[int, _Present]:
    """Return those of the batch's pairs that are still there, by key.

    They are locked, so that they stay as they are until the step is written.
    """
    pairs = PAIRS[batch.channel].objects
    ids = [record.id for record in batch.records if record.id is not None]
    if not ids:
        return {}
    found = pairs.filter(pk__in=key_list(ids, using=pairs.db)).order_by("pk").select_for_update()
    rows = found.values_list("pk", "content_hash", *_MARK)
    return {key: _Present(content_hash, _Mark(*mark)) for key, content_hash, *mark in rows}


def _rows(
    run: TrainingRun, step: int, batch: UsedBatch, present: Mapping[int, _Present], *, now: datetime
) -> list[tuple[object, ...]]:
    is_sft = batch.channel == "sft"
    return [
        (
            *(run.pk, record.id if is_sft else None, None if is_sft else record.id),
            *(step, batch.epoch, batch.weight, record.content_hash, now),
            *(found.mark.is_used, found.mark.timestamp, found.mark.epoch),
        )
        for record in batch.records
        if record.id is not None and (found := present.get(record.id)) is not None
    ]


def release(run: TrainingRun) -> int:
    """Give the pairs that `run` has used their marks from before it, after it ended without an adapter.

    Return how many are free by that: those that nobody had used, and those that were to be trained again. A pair that
    another run has used since keeps the mark of that, and loses it with this one's where that ends without an adapter,
    too. The ledger's rows stay: what happened, happened.
    """
    with transaction.atomic():
        return sum(_release(run, channel) for channel in PAIRS)


def _release(run: TrainingRun, channel: Channel) -> int:
    link = f"{channel}_pair"
    pairs = PAIRS[channel].objects
    own = PairUse.objects.filter(run=run, **{f"{link}__isnull": False}).order_by().values(link)
    marks = {
        key: _Mark(*mark)
        for key, *mark in pairs.filter(pk__in=own).order_by("pk").select_for_update().values_list("pk", *_MARK)
    }
    uses: dict[int, list[_Use]] = {}
    rows = PairUse.objects.filter(**{f"{link}__in": own}).order_by("-pk")
    for key, run_id, status, used_at, *found in rows.values_list(link, "run", "run__status", "used_at", *_FOUND):
        is_fruitless = run_id == run.pk or status == TrainingRun.Status.FAILED
        uses.setdefault(key, []).append(_Use(is_fruitless, used_at, *found))
    earlier = {key: _mark_before(mark, uses[key]) for key, mark in marks.items()}
    changed = [key for key, mark in marks.items() if earlier[key] != mark]
    update_rows(
        PAIRS[channel],
        _MARK,
        [(key, earlier[key].is_used, earlier[key].timestamp, earlier[key].epoch) for key in changed],
    )
    return sum(marks[key].is_used and not earlier[key].is_used for key in changed)


def _mark_before(mark: _Mark, uses: Sequence[_Use]) -> _Mark:
    """Return a pair's mark as it was before the runs without an adapter that it goes back to.

    `uses` are all that the ledger has of the pair, newest first. The time of a mark tells whose it is: each use that
    came to nothing is taken back as long as the mark is its own. A pair that somebody has let be trained again
    meanwhile is never made used by that.
    """
    for use in uses:
        if not use.is_fruitless or use.used_at != mark.timestamp:
            continue
        if use.was_used is not None:
            mark = _Mark(mark.is_used and use.was_used, use.former_timestamp, use.former_epoch)
        elif all(each.is_fruitless for each in uses):
            # Written by an earlier version, which kept no mark: a pair that nothing came of was never used.
            mark = _Mark(is_used=False, timestamp=None, epoch=None)
    return mark
