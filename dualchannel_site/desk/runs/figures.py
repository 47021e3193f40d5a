"""The figures of a run as rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from training.evaluation.run_report import FIGURES
from training.models import TrainingRun
from training.sampling.schedule import CHANNEL_NAMES

_DRIFTS = (("drift_ratio", "drift, median token"), ("drift_mean_ratio", "drift, mean token"))


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """One figure that was measured before and after training, as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ChannelCourse:
    """One channel of a run, as text."""

    name: str
    loss_first: str
    loss_last: str
    batches: str
    pairs_used: str


@dataclass(frozen=True, slots=True)
class RunTables:
    """What a run measured and what it took; empty where a run did not come so far."""

    measured: tuple[BeforeAfter, ...]
    channels: tuple[ChannelCourse, ...]
    costs: tuple[tuple[str, str], ...]


def run_tables(run: TrainingRun) -> RunTables:
    """Return the tables of a run; one query, which leaves the steps among its metrics in the database."""
    names = ("sft", "preference", "seconds", "tokens_per_second", "stopped_early")
    found = TrainingRun.objects.filter(pk=run.pk).values_list(*(f"metrics__{name}" for name in names)).first()
    metrics = dict(zip(names, found or (), strict=False))
    evaluation = run.evaluation if isinstance(run.evaluation, dict) else {}
    return RunTables(tuple(_measured(evaluation)), tuple(_channels(metrics)), tuple(_costs(metrics, evaluation)))


def _measured(evaluation: Mapping[str, Any]) -> Iterator[BeforeAfter]:
    for name, label, form in FIGURES:
        before, after = (evaluation.get(f"{name}_{when}") for when in ("before", "after"))
        if before is not None or after is not None:
            yield BeforeAfter(label, _number(before, form), _number(after, form))


def _channels(metrics: Mapping[str, Any]) -> Iterator[ChannelCourse]:
    for channel, name in CHANNEL_NAMES.items():
        course = metrics.get(channel)
        if isinstance(course, dict):
            yield ChannelCourse(
                name,
                _number(course.get("loss_first"), "{:.3f}"),
                _number(course.get("loss_last"), "{:.3f}"),
                _number(course.get("batches"), "{:,}"),
                _number(course.get("pairs_used"), "{:,}"),
            )


def _costs(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, label in _DRIFTS:
        if evaluation.get(name) is not None:
            yield label, _number(evaluation[name], "{:+.1%}")
    if metrics.get("seconds") is not None:
        yield "time", _number(metrics["seconds"], "{:,.0f} s")
    if metrics.get("tokens_per_second") is not None:
        yield "speed", _number(metrics["tokens_per_second"], "{:,.0f} tokens/s")
    if metrics.get("stopped_early"):
        yield "ended early", str(metrics["stopped_early"])


def _number(value: Any, form: str) -> str:
    """Return a value of a report as text; "-" for what is no number."""
    return form.format(value) if isinstance(value, int | float) and not isinstance(value, bool) else "-"
