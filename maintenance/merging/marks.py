"""What a night leaves to the next: how far it has compared, what it left undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from maintenance.models import MaintenanceStep

FULL, NEW_WITH_ALL = "full", "new with all"


@dataclass(frozen=True, slots=True)
class ChannelMarks:
    """How far one channel's pairs were compared.

    Attributes:
        key: the highest key of an embedding that was compared.
        full_at: when all pairs were compared with each other.
        history: the highest key in the history of the pairs; whoever brings a pair back leaves a record there.
        run: the night that compared them; what later ones released before they failed tells the journal.
        left: pairs that are to be compared again.
        waiting: proposals beyond the budget: newer or older pair first, then the other one, and their cosine.

    """

    key: int
    full_at: datetime
    history: int = 0
    run: int = 0
    left: tuple[int, ...] = ()
    waiting: tuple[tuple[int, int, float], ...] = ()

    def is_due(self, now: datetime, *, days: int) -> bool:
        """Return whether all pairs are to be compared again; a clock that was set back makes no night wait for ever."""
        return abs(now - self.full_at) >= timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Marks:
    """What was compared under one embedder and threshold, by the name of the channel."""

    embedder: str
    threshold: float
    channels: Mapping[str, ChannelMarks]

    def as_json(self) -> dict[str, Any]:
        """Return the marks as a step's details keep them."""
        plain: dict[str, Any] = _MARKS.dump_python(self, mode="json")
        return plain


_MARKS = TypeAdapter(Marks)


def last_marks(*, embedder: str, threshold: float, using: str) -> Mapping[str, ChannelMarks]:
    """Return the marks of the last night that merged and was not undone, by channel.

    Those of another embedder or threshold are worth nothing, nor are those from before any undo: it brings pairs back
    that were not there to be compared.
    """
    nights = MaintenanceStep.objects.using(using).filter(
        name="merge", status=MaintenanceStep.Status.SUCCEEDED, undone_at=None, details__has_key="marks"
    )
    last = nights.order_by("-pk").first()
    if last is None or MaintenanceStep.objects.using(using).filter(undone_at__gte=last.started_at).exists():
        return {}
    try:
        marks = _MARKS.validate_python(last.details["marks"])
    except ValidationError:
        # None yet, or those of another version: all pairs are compared, and nothing is lost.
        return {}
    return marks.channels if (marks.embedder, marks.threshold) == (embedder, threshold) else {}
