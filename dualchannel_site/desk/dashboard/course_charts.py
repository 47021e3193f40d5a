"""Charts of what nights and runs measured: the figures of the last runs, the coverage of the topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from dualchannel_site.desk.dashboard.charts import Chart, Series
from dualchannel_site.desk.dashboard.links import list_of, page_of
from maintenance.models import Clustering
from training.models import TrainingRun

RUNS = 20
CLUSTERINGS = 30


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a run measured, as shares: recall and accuracy in [0, 1], drift relative; None where it was not."""

    run: int
    recall: float | None
    preference_accuracy: float | None
    drift: float | None


@dataclass(frozen=True, slots=True)
class Topics:
    """One clustering: the share of its clusters that hold an unused pair, and of the pairs that changed theirs."""

    key: int
    created_at: datetime
    k: int
    coverage: float
    drift: float | None


def last_figures() -> list[RunFigures]:
    """Return the figures of the last runs that left an adapter, oldest first; one query."""
    names = ("recall_after", "preference_accuracy_after", "drift_ratio")
    rows = TrainingRun.objects.successful().order_by("-pk")
    found = rows.values_list("pk", *(f"evaluation__{name}" for name in names))[:RUNS]
    return [RunFigures(pk, *(_number(value) for value in values)) for pk, *values in reversed(found)]


def last_topics() -> list[Topics]:
    """Return the last clusterings that stand, oldest first; one query."""
    rows = Clustering.objects.filter(undone_at=None).order_by("-pk")
    found = rows.values_list("pk", "created_at", "k", "coverage", "drift")[:CLUSTERINGS]
    return [Topics(*row) for row in reversed(found)]


def figures_of_runs(found: Sequence[RunFigures]) -> Chart:
    """Return the recall, the preference accuracy and the drift of runs."""
    last = found[-1] if found else None
    said = "" if last is None else f"In run {last.run}: {_said(last)}."
    return Chart(
        key="runs",
        title="What the last runs measured",
        kind="line",
        labels=[f"run {each.run}" for each in found],
        series=[
            Series("recall", [_percent(each.recall) for each in found], "memory"),
            Series("preference accuracy", [_percent(each.preference_accuracy) for each in found], "preference"),
            Series("drift", [_percent(each.drift) for each in found], "third", dashed=True),
        ],
        about="run",
        summary=f"Recall, preference accuracy and drift of {len(found)} runs. {said}",
        link=list_of(TrainingRun, status__exact="succeeded"),
        link_text="All runs that left an adapter",
        links=[page_of(TrainingRun, each.run) for each in found],
        note="Measured after training, on what it never saw. Drift: how much worse general text became; 0 is none.",
        unit=" %",
        form="{:.1f}",
        empty="No run has measured anything yet.",
    )


def coverage_of_topics(found: Sequence[Topics]) -> Chart:
    """Return how much of the topics unused pairs cover, and how far the topics moved."""
    last = found[-1] if found else None
    said = "" if last is None else f"At last {last.coverage:.0%} of {last.k} topics hold an unused pair."
    return Chart(
        key="topics",
        title="Coverage of the topics",
        kind="line",
        labels=[f"{timezone.localtime(each.created_at):%d %b}" for each in found],
        series=[
            Series("topics with an unused pair", [_percent(each.coverage) for each in found], "memory"),
            Series("pairs that changed their topic", [_percent(each.drift) for each in found], "third", dashed=True),
        ],
        about="clustering",
        summary=f"Coverage and movement of the topics over {len(found)} clusterings. {said}",
        link=list_of(Clustering),
        link_text="All clusterings",
        links=[page_of(Clustering, each.key) for each in found],
        note=said,
        unit=" %",
        form="{:.1f}",
        empty="Topics come with the first night that clusters: manage.py nightly_maintenance --only embed recluster.",
    )


def _said(figures: RunFigures) -> str:
    values = {
        "recall": figures.recall,
        "preference accuracy": figures.preference_accuracy,
        "drift": figures.drift,
    }
    measured = [f"{name} {100 * value:.1f} %" for name, value in values.items() if value is not None]
    return ", ".join(measured) or "nothing was measured"


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def _number(value: Any) -> float | None:
    """Return a value of a report if it is a number; a report of another version may hold anything."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
