"""What the pools hold at the moment, counted from indexes alone, however many pairs there are."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TypeAlias

from django.db.models import Count, Max, Min, QuerySet, Value

from memory.admin.filters import midnight
from memory.bulk import key_list
from memory.models import PreferencePair, SftPair

AnyPair: TypeAlias = type[SftPair] | type[PreferencePair]

# Days back at which one bar of the ages ends and the next begins.
AGE_DAYS = (7, 30, 90, 180, 365)
# Rows of which the rewards are read; of a tenth of them, the share is known to a percentage point.
SAMPLE = 5_000
REWARD_BINS = 10


@dataclass(frozen=True, slots=True)
class AgeBand:
    """The pairs said from the day `begin` to the day `end`, both included; None is open."""

    begin: date | None
    end: date | None
    label: str


@dataclass(frozen=True, slots=True)
class RewardBin:
    """The rewards from `low` to `high`, both included; no number lies between two bins."""

    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """One channel: its pairs by age band, unused and used; the rewards of a sample of them by bin."""

    unused_by_age: tuple[int, ...]
    used_by_age: tuple[int, ...]
    rewards: tuple[int, ...]

    @property
    def unused(self) -> int:
        """How many no run has used."""
        return sum(self.unused_by_age)

    @property
    def used(self) -> int:
        """How many a run has used."""
        return sum(self.used_by_age)

    @property
    def sampled(self) -> int:
        """Of how many the rewards are."""
        return sum(self.rewards)


def age_bands(today: date) -> tuple[AgeBand, ...]:
    """Return the bands, newest first; they cover all time and do not overlap."""
    edges = [today - timedelta(days=days - 1) for days in AGE_DAYS]
    between = [
        AgeBand(older, newer - timedelta(days=1), f"{first + 1} to {last} days")
        for (newer, older), (first, last) in zip(pairwise(edges), pairwise(AGE_DAYS), strict=True)
    ]
    oldest = AgeBand(None, edges[-1] - timedelta(days=1), f"over {AGE_DAYS[-1]} days")
    return (AgeBand(edges[0], None, f"last {AGE_DAYS[0]} days"), *between, oldest)


def reward_bins() -> tuple[RewardBin, ...]:
    """Return equal bins from 0 to 1."""
    edges = [number / REWARD_BINS for number in range(REWARD_BINS + 1)]
    return tuple(
        RewardBin(low, high if high == 1 else math.nextafter(high, 0), f"{low:.1f} to {high:.1f}")
        for low, high in pairwise(edges)
    )


def pool_counts(model: AnyPair, *, today: date) -> PoolCounts:
    """Return the counts of a channel; four queries."""
    bands = age_bands(today)
    parts = [
        _count(model, band, number=number, is_used=bool(is_used))
        for is_used in (0, 1)
        for number, band in enumerate(bands, start=is_used * len(bands))
    ]
    found = dict(parts[0].union(*parts[1:], all=True))
    counts = [found.get(number, 0) for number in range(2 * len(bands))]
    return PoolCounts(tuple(counts[: len(bands)]), tuple(counts[len(bands) :]), _rewards(model))


def _count(model: AnyPair, band: AgeBand, *, number: int, is_used: bool) -> QuerySet[SftPair, tuple[int, int]]:
    """Return the query that counts a band by the index on use and time, with the number by which it is known."""
    # A bare "NOT is_used" would have SQLite walk the whole index for every band.
    pairs: QuerySet[SftPair] = model._default_manager.filter(is_used__in=[is_used])  # type: ignore[assignment]
    if band.begin is not None:
        pairs = pairs.filter(created_at__gte=midnight(band.begin))
    if band.end is not None:
        pairs = pairs.filter(created_at__lt=midnight(band.end + timedelta(days=1)))
    return (
        pairs.order_by()
        .annotate(band=Value(number))
        .values("band")
        .annotate(count=Count("*"))
        .values_list("band", "count")
    )


def _rewards(model: AnyPair) -> tuple[int, ...]:
    """Return how the rewards of rows that lie evenly between the first and the last are spread over the bins."""
    pairs = model._default_manager.order_by()
    # Asked for both ends at once, SQLite would walk the whole table.
    first, last = (pairs.aggregate(end=end("pk"))["end"] for end in (Min, Max))
    if first is None or last is None:
        return (0,) * REWARD_BINS
    keys = key_list(list(range(first, last + 1, max(1, (last - first) // SAMPLE))), using=pairs.db)
    column = "reward_intensity" if model is SftPair else "margin"
    highs = [each.high for each in reward_bins()]
    found = [0] * REWARD_BINS
    for reward in pairs.filter(pk__in=keys).values_list(column, flat=True):
        found[bisect_left(highs, reward)] += 1
    return tuple(found)
