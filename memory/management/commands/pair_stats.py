"""Command: counts of the training pairs."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from memory.management.refusing import RefusingCommand
from memory.stats import ChannelStats, PairStats, pair_stats


class Command(RefusingCommand):
    """Show counts of pairs."""

    help = "Show how many pairs each channel holds, by source, review status, use, and how old they are, in days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the summary.")

    def handle(self, **options: Any) -> None:
        """Count, and print."""
        stats = pair_stats()
        self.stdout.write(json.dumps(stats.as_dict()) if options["json"] else "\n".join(_summary(stats)))


def _summary(stats: PairStats) -> Iterator[str]:
    yield from _channel_summary("memory pairs", stats.sft)
    yield from _channel_summary("preference pairs", stats.preference)
    yield f"replay entries: {stats.replay.total}{_counts(stats.replay.by_kind)}"


def _channel_summary(name: str, stats: ChannelStats) -> Iterator[str]:
    yield f"{name}: {stats.total}, of which {stats.used} used and {stats.unused} unused"
    if stats.age_days is not None:
        yield f"  by source{_counts(stats.by_source)}"
        yield f"  by review status{_counts(stats.by_review_status)}"
        ages = stats.age_days
        yield f"  age in days: {ages.min:.1f} to {ages.max:.1f}, median {ages.median:.1f}"


def _counts(counts: dict[str, int]) -> str:
    return f": {', '.join(f'{count} {name}' for name, count in counts.items())}" if counts else ""
