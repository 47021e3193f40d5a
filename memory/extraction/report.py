"""What a run of the extraction answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class ExtractionReport:
    """Counts of one run, or of one batch of it.

    `dropped` counts by reason: assistant messages without a prefix, `introspection_…` and `preference_…` apart.
    `refreshed` counts stored pairs of either channel whose texts or scores had changed.
    """

    conversations: int = 0
    assistant_turns: int = 0
    created: int = 0
    existing: int = 0
    refreshed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    preference_pairs_created: int = 0
    replay_entries_created: int = 0

    def add(self, other: ExtractionReport) -> None:
        """Add the counts of `other`."""
        for item in fields(self):
            if item.name == "dropped":
                self.dropped.update(other.dropped)
            else:
                setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values, the reasons in alphabetical order."""
        counts = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**counts, "dropped": dict(sorted(self.dropped.items()))}
