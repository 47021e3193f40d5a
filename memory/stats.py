"""Counts of what the memory holds, each set of them in a few queries."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone

from memory.models import Message, PreferencePair, ReplayEntry, SftPair, TrainingPair
from memory.switches import is_on


@dataclass(frozen=True, slots=True)
class AgeSpread:
    """How long ago pairs were said, in days."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """Counts of one channel; `age_days` is None where there is no pair."""

    total: int
    used: int
    unused: int
    by_source: dict[str, int]
    by_review_status: dict[str, int]
    age_days: AgeSpread | None


@dataclass(frozen=True, slots=True)
class ReplayStats:
    """Counts of the replay buffer."""

    total: int
    by_kind: dict[str, int]


@dataclass(frozen=True, slots=True)
class PairStats:
    """Counts of both channels with the replay buffer."""

    sft: ChannelStats
    preference: ChannelStats
    replay: ReplayStats

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class IntrospectionStats:
    """The switch, the messages by whether the assistant itself produced them, the pairs made of them."""

    enabled: bool
    messages_internal: int
    messages_not_internal: int
    pairs: int

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return asdict(self)


def pair_stats(*, now: datetime | None = None) -> PairStats:
    """Return the counts of all pairs, ages as of `now`; seven queries, whatever the count."""
    now = now or timezone.now()
    kinds = dict(ReplayEntry.objects.buffered().order_by().values_list("kind").annotate(Count("pk")))
    return PairStats(
        sft=_channel(SftPair.objects.all(), now=now),
        preference=_channel(PreferencePair.objects.all(), now=now),
        replay=ReplayStats(total=sum(kinds.values()), by_kind=kinds),
    )


def introspection_stats(*, using: str = DEFAULT_DB_ALIAS) -> IntrospectionStats:
    """Return the state of the switch and what there is of introspection; three queries."""
    messages = Message.objects.using(using).filter(kind=Message.Kind.INTROSPECTION)
    counts = messages.aggregate(
        internal=Count("pk", filter=Q(internal_generated=True)), other=Count("pk", filter=Q(internal_generated=False))
    )
    return IntrospectionStats(
        enabled=is_on("INTROSPECTION_IN_SFT", using=using),
        messages_internal=counts["internal"],
        messages_not_internal=counts["other"],
        pairs=SftPair.objects.using(using).filter(source=SftPair.Source.INTROSPECTION).count(),
    )


def _channel(pairs: QuerySet[Any], *, now: datetime) -> ChannelStats:
    groups = pairs.order_by().values_list("source", "review_status", "is_used").annotate(Count("pk"))
    by_source: Counter[str] = Counter()
    by_review_status: Counter[str] = Counter()
    by_use: Counter[bool] = Counter()
    for source, review_status, is_used, count in groups:
        by_source[source] += count
        by_review_status[review_status] += count
        by_use[is_used] += count
    total = by_use.total()
    return ChannelStats(
        total=total,
        used=by_use[True],
        unused=by_use[False],
        by_source=dict(sorted(by_source.items())),
        by_review_status=dict(sorted(by_review_status.items())),
        age_days=_ages(pairs, total=total, now=now) if total else None,
    )


def _ages(pairs: QuerySet[TrainingPair], *, total: int, now: datetime) -> AgeSpread:
    """Return the ages of `total` pairs; of an even number the median lies between the two in the middle."""
    ends = pairs.order_by().aggregate(newest=Max("created_at"), oldest=Min("created_at"))
    times = pairs.order_by("created_at").values_list("created_at", flat=True)
    middle = [_days(moment, now) for moment in times[(total - 1) // 2 : total // 2 + 1]]
    return AgeSpread(
        min=round(_days(ends["newest"], now), 3),
        median=round(fmean(middle), 3),
        max=round(_days(ends["oldest"], now), 3),
    )


def _days(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds() / 86_400
