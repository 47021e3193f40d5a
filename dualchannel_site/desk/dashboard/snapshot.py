"""The pools as they are and as they were, kept for a minute, since counting a million pairs takes a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from dualchannel_site.desk.dashboard.pools import PoolCounts, pool_counts
from maintenance.models import MaintenanceRun
from maintenance.morning.reading import NoReportError, read_pools
from memory.models import PreferencePair, SftPair

# How old the counts on the page may be.
KEPT_SECONDS = 60
# Nights whose reports are read.
NIGHTS = 30
_KEY = "desk.dashboard.snapshot"


@dataclass(frozen=True, slots=True)
class NightPools:
    """One channel's pairs in reach of training as the report of a night counted them, for both channels."""

    night: int
    started_at: datetime
    unused_sft: int
    used_sft: int
    unused_preference: int
    used_preference: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts of both channels at a moment, and what the last nights' reports said, oldest first."""

    taken_at: datetime
    sft: PoolCounts
    preference: PoolCounts
    nights: tuple[NightPools, ...]


def snapshot() -> Snapshot:
    """Return the newest snapshot, taken now where there is none younger than `KEPT_SECONDS`."""
    found: Snapshot | None = cache.get(_KEY)
    if found is None:
        found = _take()
        cache.set(_KEY, found, KEPT_SECONDS)
    return found


def forget_snapshot() -> None:
    """Have the next page count anew."""
    cache.delete(_KEY)


def _take() -> Snapshot:
    today = timezone.localdate()
    return Snapshot(
        timezone.now(),
        pool_counts(SftPair, today=today),
        pool_counts(PreferencePair, today=today),
        tuple(_nights()),
    )


def _nights() -> list[NightPools]:
    newest = MaintenanceRun.objects.exclude(report="").only("report", "started_at").order_by("-pk")[:NIGHTS]
    found = []
    for run in reversed(newest):
        try:
            pools = read_pools(run, artifacts=settings.ARTIFACTS_DIR)
        except NoReportError:
            # Old reports are removed; the curve begins with the first one that is left.
            continue
        sft, preference = pools["sft"], pools["preference"]
        found.append(
            NightPools(run.pk, run.started_at, sft["unused"], sft["used"], preference["unused"], preference["used"])
        )
    return found
