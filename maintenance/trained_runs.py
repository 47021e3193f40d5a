"""The runs that nights have trained, and which of them have not been compared yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maintenance.models import MaintenanceStep
from maintenance.night import Night
from training.models import TrainingRun


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A successful run of a night.

    Attributes:
        run: its row.
        previous: the folder of the adapter that was active before it; None where there was none.

    """

    run: TrainingRun
    previous: Path | None


def note_training(night: Night, details: dict[str, Any]) -> None:
    """Write what the night is training into its step, so that it is known whatever becomes of the process."""
    MaintenanceStep.objects.using(night.using).filter(run=night.run, name=night.step).update(details=details)


def previous_adapter(run: int, *, using: str) -> Path | None:
    """Return the adapter that was active when a night began to train `run`; None where there was none."""
    steps = MaintenanceStep.objects.using(using).filter(name="train", details__run=run).order_by("pk")
    details = steps.values_list("details", flat=True).first()
    return None if details is None else _path(details["previous_adapter"])


def uncompared_runs(*, using: str) -> list[TrainedRun]:
    """Return the successful runs of nights that no night has compared with what was there before, oldest first."""
    compared = {
        run
        for marks in MaintenanceStep.objects.using(using)
        .filter(name="evaluate", details__has_key="marks")
        .values_list("details__marks", flat=True)
        for run in marks["runs"]
    }
    steps = MaintenanceStep.objects.using(using).filter(name="train", details__has_key="run").order_by("pk")
    # A run that was resumed has several; the first of them saw what had been active.
    previous: dict[int, Path | None] = {}
    for details in steps.values_list("details", flat=True):
        if details["run"] not in compared:
            previous.setdefault(details["run"], _path(details["previous_adapter"]))
    runs = TrainingRun.objects.using(using).successful().filter(pk__in=list(previous)).order_by("pk")
    return [TrainedRun(run, previous[run.pk]) for run in runs]


def _path(stored: str | None) -> Path | None:
    return None if stored is None else Path(stored)
