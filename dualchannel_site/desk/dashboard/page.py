"""The dashboard as its template gets it: for this person, nothing but what they may see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from dualchannel_site.desk.dashboard import cards, course_charts, pool_charts
from dualchannel_site.desk.dashboard.cards import Button, LastNight, Step, Switch, Waiting
from dualchannel_site.desk.dashboard.charts import Chart
from dualchannel_site.desk.dashboard.links import list_of, may_see
from dualchannel_site.desk.dashboard.pool_charts import CHANNELS
from dualchannel_site.desk.dashboard.snapshot import Snapshot, snapshot
from dualchannel_site.desk.models import Job
from training.models import TrainingRun
from training.sampling.schedule import Channel


@dataclass(frozen=True, slots=True)
class PoolTile:
    """The counts of one channel, with the lists behind them."""

    name: str
    unused: int
    used: int
    unused_link: str
    used_link: str

    @property
    def unused_shown(self) -> str:
        """The number of unused pairs as the page writes it."""
        return f"{self.unused:,}"

    @property
    def used_shown(self) -> str:
        """The number of used pairs as the page writes it."""
        return f"{self.used:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What one person sees; None, or nothing in a list, where they may not see it or there is nothing.

    `counted_at` is when the pools were counted, which may be a minute ago.
    """

    counted_at: datetime | None
    tiles: list[PoolTile]
    waiting: list[Waiting]
    jobs: list[Job] | None
    buttons: list[Button]
    has_nights: bool
    night: LastNight | None
    runs: list[TrainingRun] | None
    switch: Switch | None
    first_steps: list[Step]
    charts: list[Chart]

    @property
    def is_empty(self) -> bool:
        """Whether this person may see nothing at all."""
        sees_lists = self.has_nights or self.runs is not None or self.jobs is not None
        return not (sees_lists or self.tiles or self.waiting or self.charts or self.switch)


def dashboard_callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the admin's first page with the dashboard in it."""
    return {**context, "title": "Dashboard", "dashboard": dashboard(request.user)}


def dashboard(user: User | AnonymousUser) -> Dashboard:
    """Return the dashboard for a person; a fixed number of queries, none of them over the pairs' own rows."""
    channels: list[Channel] = [
        channel for channel in CHANNELS if may_see(user, CHANNELS[channel].model._meta.label_lower)
    ]
    taken = snapshot() if channels else None
    sees_nights = may_see(user, "maintenance.maintenancerun")
    sees_runs = may_see(user, "training.trainingrun")
    return Dashboard(
        counted_at=None if taken is None else taken.taken_at,
        tiles=[] if taken is None else [_tile(channel, taken) for channel in channels],
        waiting=cards.waiting(user, channels),
        jobs=cards.open_jobs() if may_see(user, "desk.job") else None,
        buttons=list(cards.starts(user).values()),
        has_nights=sees_nights,
        night=cards.last_night() if sees_nights else None,
        runs=cards.last_runs() if sees_runs else None,
        switch=cards.introspection() if may_see(user, "constance.config") and "sft" in channels else None,
        first_steps=[] if taken is None else cards.first_steps(user, has_pairs=_has_pairs(taken)),
        charts=list(_charts(user, taken, channels, sees_nights=sees_nights, sees_runs=sees_runs)),
    )


def _charts(
    user: User | AnonymousUser, taken: Snapshot | None, channels: list[Channel], *, sees_nights: bool, sees_runs: bool
) -> Iterator[Chart]:
    if taken is not None:
        yield pool_charts.pools_by_night(taken, channels, with_links=sees_nights)
    if sees_runs:
        yield course_charts.figures_of_runs(course_charts.last_figures())
    if taken is not None:
        for channel in channels:
            yield pool_charts.by_age(channel, getattr(taken, channel), taken)
            yield pool_charts.by_reward(channel, getattr(taken, channel))
    if may_see(user, "maintenance.clustering"):
        yield course_charts.coverage_of_topics(course_charts.last_topics())


def _tile(channel: Channel, taken: Snapshot) -> PoolTile:
    counts = getattr(taken, channel)
    model = CHANNELS[channel].model
    # The list's own filter writes the two this way.
    links = [list_of(model, is_used__exact=value) for value in (0, 1)]
    return PoolTile(CHANNELS[channel].name, counts.unused, counts.used, *links)


def _has_pairs(taken: Snapshot) -> bool:
    return bool(taken.sft.unused + taken.sft.used + taken.preference.unused + taken.preference.used)
