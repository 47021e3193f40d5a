"""The curves of a run: losses, rewards, weights, recency and coverage, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dualchannel_site.desk.dashboard.charts import Chart, Colour, Series
from dualchannel_site.desk.runs.course import Course


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of the trainer with how it is drawn."""

    metric: str
    label: str
    colour: Colour
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart of several curves; one of which the run has no value is left out."""

    key: str
    title: str
    curves: tuple[Curve, ...]
    note: str


def _channels(metric: str) -> tuple[Curve, Curve]:
    return (
        Curve(f"sft/{metric}", "memory", "memory"),
        Curve(f"preference/{metric}", "preference", "preference", dashed=True),
    )


PLOTS = (
    Plot("loss", "Loss", _channels("loss"), "Mean of a token, in nats; of preference pairs the DPO loss."),
    Plot(
        "rewards",
        "Rewards of the answers",
        (
            Curve("preference/rewards/margins", "margin", "preference"),
            Curve("preference/rewards/chosen", "chosen", "memory"),
            Curve("preference/rewards/rejected", "rejected", "quiet", dashed=True),
        ),
        "Implicit rewards of the preference pairs' two answers, and by how much the chosen one leads.",
    ),
    Plot("drawn", "Reward of the pairs drawn", _channels("reward_mean"), "Mean of a batch, 0 to 1."),
    Plot(
        "weights",
        "Weights of the channels",
        _channels("weight"),
        "Shares of the channels in the loss; they move where dynamic_weighting is on.",
    ),
    Plot("recency", "Recency of the pairs drawn", _channels("recency_mean"), "Mean of a batch; 1 is said today."),
    Plot(
        "coverage",
        "Coverage of the clusters",
        _channels("cluster_coverage"),
        "Share of a pool's clusters that the epoch has reached.",
    ),
)


def curves(course: Course, *, config: Mapping[str, Any], ledger: str) -> Iterator[Chart]:
    """Yield the charts for which the run has metrics; `ledger` is the address of its part of the ledger."""
    for plot in PLOTS:
        chosen = _factors(config) if plot.key == "weights" and not _found(plot, course.values) else plot
        if found := _found(chosen, course.values):
            yield _chart(chosen, found, course, ledger)


def _factors(config: Mapping[str, Any]) -> Plot:
    """Return the plot for a run that neither mixes its batches nor moves its weights: the schedule keeps the shares."""
    note = (
        f"What each channel's loss is multiplied by. The schedule keeps the weights: {config.get('sft_weight', '?')} "
        f"memory, {config.get('preference_weight', '?')} preference."
    )
    return Plot("weights", "Factors of the channels", _channels("factor"), note)


def _found(plot: Plot, values: Mapping[str, tuple[float | None, ...]]) -> list[Curve]:
    return [curve for curve in plot.curves if curve.metric in values]


def _chart(plot: Plot, found: list[Curve], course: Course, ledger: str) -> Chart:
    series = [Series(each.label, course.values[each.metric], each.colour, each.dashed) for each in found]
    return Chart(
        key=plot.key,
        title=plot.title,
        kind="line",
        labels=[str(step) for step in course.steps],
        series=series,
        about="step",
        summary=f"{plot.title} over {course.steps[-1]:,} steps. {' '.join(_ends(each) for each in series)}",
        link=ledger,
        link_text="The pairs of each step",
        note=plot.note,
        form="{:.4g}",
        has_table=False,
    )


def _ends(series: Series) -> str:
    values = [value for value in series.values if value is not None]
    return f"{series.label}: from {values[0]:.3f} to {values[-1]:.3f}, between {min(values):.3f} and {max(values):.3f}."
