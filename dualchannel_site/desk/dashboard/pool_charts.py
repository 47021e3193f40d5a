"""Charts of the pools: night by night, by age, by reward."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.utils import timezone

from dualchannel_site.desk.dashboard.charts import Chart, Colour, Series
from dualchannel_site.desk.dashboard.links import list_of, list_of_age, list_of_reward, page_of
from dualchannel_site.desk.dashboard.pools import AnyPair, PoolCounts, age_bands, reward_bins
from dualchannel_site.desk.dashboard.snapshot import Snapshot
from maintenance.models import MaintenanceRun
from memory.models import PreferencePair, SftPair
from training.sampling.schedule import Channel


@dataclass(frozen=True, slots=True)
class ChannelView:
    """How a channel is shown: its model, its name, what its reward is called, its colour."""

    model: AnyPair
    name: str
    reward: str
    colour: Colour


CHANNELS: dict[Channel, ChannelView] = {
    "sft": ChannelView(SftPair, "memory", "reward", "memory"),
    "preference": ChannelView(PreferencePair, "preference", "margin", "preference"),
}


def pools_by_night(taken: Snapshot, channels: Collection[Channel], *, with_links: bool) -> Chart:
    """Return the progression of the channels' unused and used pairs, a point a night."""
    nights = taken.nights
    series = [
        Series(
            f"{CHANNELS[channel].name}, {use}",
            [getattr(night, f"{use}_{channel}") for night in nights],
            CHANNELS[channel].colour,
            dashed=use == "used",
        )
        for channel in channels
        for use in ("unused", "used")
    ]
    ends = "; ".join(f"{each.label}: {each.values[0]:,} to {each.values[-1]:,}" for each in series if nights)
    return Chart(
        key="pools",
        title="Pools, night by night",
        kind="line",
        labels=[f"{timezone.localtime(night.started_at):%d %b}" for night in nights],
        series=series,
        about="night",
        summary=f"Pairs in reach of training over {len(nights)} nights. {ends}.",
        link=list_of(MaintenanceRun) if with_links else "",
        link_text="All nights",
        links=[page_of(MaintenanceRun, night.night) for night in nights] if with_links else (),
        note="As each morning report counted them: without pairs that are merged, archived or rejected.",
        empty="The curve begins with the first night: manage.py nightly_maintenance.",
    )


def by_age(channel: Channel, counts: PoolCounts, taken: Snapshot) -> Chart:
    """Return how long ago the pairs of a channel were said, unused beside used ones."""
    view = CHANNELS[channel]
    bands = age_bands(timezone.localdate(taken.taken_at))
    nothing = None if counts.unused + counts.used else [None] * len(bands)
    return Chart(
        key=f"age-{channel}",
        title=f"Age of {view.name} pairs",
        kind="bar",
        labels=[band.label for band in bands],
        series=[
            Series("unused", nothing or counts.unused_by_age, view.colour),
            Series("used", nothing or counts.used_by_age, "quiet"),
        ],
        about="said within",
        summary=f"{counts.unused:,} unused and {counts.used:,} used {view.name} pairs by age. "
        + "; ".join(
            f"{band.label}: {unused:,} unused, {used:,} used"
            for band, unused, used in zip(bands, counts.unused_by_age, counts.used_by_age, strict=True)
        )
        + ".",
        link=list_of(view.model),
        link_text=f"All {view.name} pairs",
        links=[list_of_age(view.model, band) for band in bands],
        empty=f"There are no {view.name} pairs yet.",
    )


def by_reward(channel: Channel, counts: PoolCounts) -> Chart:
    """Return how the rewards of a channel are spread; of a large pool, those of a sample."""
    view = CHANNELS[channel]
    bins, sampled = reward_bins(), counts.sampled
    shares = [100 * count / sampled if sampled else None for count in counts.rewards]
    is_sample = sampled < counts.unused + counts.used
    note = f"Shares of a sample of {sampled:,} pairs." if is_sample else f"Shares of all {sampled:,} pairs."
    most = max(range(len(bins)), key=lambda number: counts.rewards[number])
    return Chart(
        key=f"reward-{channel}",
        title=f"{view.reward.capitalize()} of {view.name} pairs",
        kind="bar",
        labels=[found.label for found in bins],
        series=[Series("share of the pairs", shares, view.colour)],
        about=view.reward,
        summary=f"{note} Most, {shares[most] or 0:.0f} %, lie from {bins[most].label}.",
        link=list_of(view.model),
        link_text=f"All {view.name} pairs",
        links=[list_of_reward(view.model, found) for found in bins],
        note=note,
        unit=" %",
        form="{:.1f}",
        empty=f"There are no {view.name} pairs yet.",
    )
