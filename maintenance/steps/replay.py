"""The replay buffer is kept to its size; what has to make room stays in the database."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from maintenance.journal import change_rows
from maintenance.night import ROWS_PER_TRANSACTION, Night, StepOutcome
from maintenance.replay_buffer import ENTRY, kept, seconds
from memory.models import ReplayEntry

# Nobody reads an entry without consent, and introspection that a person flagged is not replayed.
_MAY_STAY = (Q(message__isnull=True) | Q(message__conversation__training_allowed=True)) & (
    Q(kind=ReplayEntry.Kind.EXPERIENCE) | Q(internal_generated=True, safety_flags=[])
)


def replay(night: Night) -> StepOutcome:
    """Evict the entries of the lowest priority, and let those return for which there is room.

    Evicted entries are marked, not deleted: they follow from their messages, and extraction would make them again.
    """
    entries = _entries(using=night.using)
    belongs = kept(entries, size=night.config.replay.size, now=night.now)
    is_buffered = entries["is_buffered"]
    stored = ReplayEntry.objects.using(night.using)
    evicted = _mark(night, entries["key"][is_buffered & ~belongs], night.now, among=stored.buffered())
    returned = _mark(night, entries["key"][~is_buffered & belongs], None, among=stored.evicted())
    return StepOutcome(counts={"evicted": evicted, "returned": returned, "kept": int(belongs.sum())})


def _entries(*, using: str) -> npt.NDArray[np.void]:
    found = ReplayEntry.objects.using(using).order_by("pk")
    rows = found.annotate(may_stay=ExpressionWrapper(_MAY_STAY, output_field=BooleanField())).values_list(
        "pk", "reward_intensity", "created_at", "may_stay", "evicted_at"
    )
    return np.fromiter(
        (
            (pk, reward, seconds(said_at), bool(may_stay), evicted_at is None)
            for pk, reward, said_at, may_stay, evicted_at in rows.iterator(chunk_size=10_000)
        ),
        dtype=ENTRY,
    )


def _mark(
    night: Night, keys: npt.NDArray[np.int64], evicted_at: datetime | None, *, among: QuerySet[ReplayEntry]
) -> int:
    count = 0
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        chunk = keys[start : start + ROWS_PER_TRANSACTION].tolist()
        count += len(change_rows(night, ["evicted_at"], [(key, evicted_at) for key in chunk], among=among))
        night.progress(
            f"{start + len(chunk):,} of {len(keys):,} replay entries moved", (start + len(chunk)) / len(keys)
        )
    return count
