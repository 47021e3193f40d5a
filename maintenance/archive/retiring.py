"""Which pairs leave the pools: for their age, their uses, a rejection long ago, or with their survivor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import models
from django.db.models import Count, Exists, OuterRef, Q

from maintenance.archive.records import CHANNELS, Channel
from maintenance.journal import change_rows
from maintenance.night import ROWS_PER_TRANSACTION, Night
from memory.bulk import key_list
from memory.curation import UNARCHIVED
from memory.models import PreferencePair, ReviewStatus, SftPair
from training.models import PairUse, TrainingRun

Pairs = models.QuerySet[SftPair | PreferencePair]


def archive_pairs(night: Night) -> Counter[str]:
    """Archive what has outlived its use; return how many pairs, by `archived_` and the first reason that applies.

    - `age`: said more than `retention_days` ago; `uses`: consumed by `max_uses` successful runs or more. With
      `keep_approved` neither holds for what a person approved.
    - `rejected`: a person rejected it more than `rejected_days` ago, and it has been so since.
    - `merged`: the pair that stands for it is archived, or it is as old as that itself.

    What a person took out of the archive stays out, unless that person rejects it. A pair that stands for others is as
    old as the newest of them, and is spared where a person's word spares one of them: what they say is trained by it
    alone.
    """
    counts: Counter[str] = Counter({f"archived_{reason}": 0 for reason in _REASONS})
    for channel in CHANNELS.values():
        for reason, find in _REASONS.items():
            night.progress(f"archiving {channel.name} pairs: {reason}", 0.0)
            for keys, among in find(night, channel):
                counts[f"archived_{reason}"] += _archive(night, keys, among)
    return counts


Found = Iterator[tuple[Sequence[int], Pairs]]


def _archive(night: Night, keys: Sequence[int], among: Pairs) -> int:
    archived = 0
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        rows = [(key, night.now) for key in keys[start : start + ROWS_PER_TRANSACTION]]
        archived += len(change_rows(night, ["archived_at"], rows, among=among))
    return archived


def _by_age(night: Night, channel: Channel) -> Found:
    before = _days_ago(night, night.config.retire.retention_days)
    if before is not None:
        recent = _members(channel, night.using).filter(created_at__gte=before)
        among = _survivors(night, channel).filter(~Exists(recent), created_at__lt=before)
        yield _keys(among), among


def _by_uses(night: Night, channel: Channel) -> Found:
    most = night.config.retire.max_uses
    # The ledger is the longest table of all, and most nights have too few runs for it to matter.
    if most is None or TrainingRun.objects.using(night.using).successful().count() < most:
        return
    among = _survivors(night, channel)
    link = f"{channel.link}_id"
    uses = PairUse.objects.using(night.using).filter(
        **{f"{channel.link}__isnull": False, f"{channel.link}__archived_at__isnull": True},
        run__status=TrainingRun.Status.SUCCEEDED,
    )
    used = uses.order_by().values(link).annotate(runs=Count("run", distinct=True)).filter(runs__gte=most)
    yield sorted(used.values_list(link, flat=True)), among


def _by_rejection(night: Night, channel: Channel) -> Found:
    before = _days_ago(night, night.config.retire.rejected_days)
    if before is None:
        return
    pairs: Pairs = channel.model._default_manager.using(night.using)
    among = pairs.filter(archived_at__isnull=True, merged_into__isnull=True, review_status=ReviewStatus.REJECTED)
    # What was said since cannot have been rejected before.
    keys = _keys(among.filter(created_at__lt=before))
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        some = keys[start : start + ROWS_PER_TRANSACTION]
        since = rejected_since(channel, some, using=night.using)
        yield [key for key in some if key not in since or since[key] < before], among


def _by_merge(night: Night, channel: Channel) -> Found:
    before = _days_ago(night, night.config.retire.retention_days)
    merged = _wanted(channel, night.using).filter(merged_into__isnull=False)
    if before is not None:
        among = _protected(night, merged.filter(created_at__lt=before))
        yield _keys(among), among
    among = merged.filter(merged_into__archived_at__isnull=False)
    # Where chains are longer than one, each round reaches one link further.
    while keys := _keys(among):
        yield keys, among


_REASONS: dict[str, Callable[[Night, Channel], Found]] = {
    "age": _by_age,
    "uses": _by_uses,
    "rejected": _by_rejection,
    "merged": _by_merge,
}


def rejected_since(channel: Channel, keys: Sequence[int], *, using: str) -> dict[int, datetime]:
    """Return since when rejected pairs are so without interruption, by key; one without any history is not in it.

    Taking a pair out of the archive counts as an interruption. Where the history does not say that a pair is rejected,
    its newest record counts.
    """
    history = channel.history._default_manager.using(using).filter(id__in=key_list(keys, using=using))
    records = history.order_by("id", "history_id").values_list(
        "id", "review_status", "history_date", "history_change_reason"
    )
    return {key: _since(list(group)) for key, group in groupby(records.iterator(), key=itemgetter(0))}


def _since(records: Sequence[Sequence[Any]]) -> datetime:
    since: datetime = records[-1][2]
    for _, status, date, reason in reversed(records):
        if status != ReviewStatus.REJECTED:
            break
        since = date
        if reason == UNARCHIVED:
            break
    return since


def _survivors(night: Night, channel: Channel) -> Pairs:
    """Return the pairs that nothing stands for and that may be archived for their age or their uses."""
    members = _members(channel, night.using)
    spared = _taken_out(channel)
    if night.config.retire.keep_approved:
        spared |= Q(review_status=ReviewStatus.APPROVED)
    pairs = _wanted(channel, night.using).filter(~Exists(members.filter(spared)), merged_into__isnull=True)
    return _protected(night, pairs)


def _members(channel: Channel, using: str) -> Pairs:
    """Return, for the pair of the outer query, those that it stands for and that would be trained without it."""
    pairs: Pairs = channel.model.objects.using(using).worth_training()
    return pairs.filter(merged_into=OuterRef("pk"))


def _wanted(channel: Channel, using: str) -> Pairs:
    """Return the pairs that may be archived for anything but a rejection."""
    pairs: Pairs = channel.model._default_manager.using(using)
    return pairs.filter(~_taken_out(channel), archived_at__isnull=True)


def _taken_out(channel: Channel) -> Q:
    """Tell of pairs that a person took out of the archive."""
    history = channel.history._default_manager
    return Q(Exists(history.filter(id=OuterRef("pk"), history_change_reason=UNARCHIVED)))


def _protected(night: Night, pairs: Pairs) -> Pairs:
    if not night.config.retire.keep_approved:
        return pairs
    return pairs.filter(~Q(review_status=ReviewStatus.APPROVED))


def _days_ago(night: Night, days: int | None) -> datetime | None:
    return None if days is None else night.now - timedelta(days=days)


def _keys(pairs: Pairs) -> list[int]:
    return list(pairs.order_by("pk").values_list("pk", flat=True))
