"""The course of a run, read from its file of metrics and thinned to what a chart can show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.artifacts import OutsideRootError, inside
from training.history import METRICS
from training.models import TrainingRun
from training.run_state import WORK_FOLDER, read_claim

# Points of a curve.
MOST_POINTS = 300
# Steps that a point is the mean of, at most: neighbours, so that channels which take turns are all among them.
STEPS_A_POINT = 16
# A run of a hundred thousand steps leaves some 80 MB.
LARGEST_BYTES = 128_000_000


class NoCourseError(ValueError):
    """A run has no metrics that can be shown; the message says why."""


@dataclass(frozen=True, slots=True)
class Course:
    """The thinned course: for each point its last step, and every metric's mean there, None where it has none.

    `lines` counts the lines of the file, `unreadable` those looked at that were no step.
    """

    steps: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]
    lines: int
    unreadable: int


def read_course(run: TrainingRun, *, artifacts: Path) -> Course:
    """Return the course of a run, of one that is at work as far as it has come.

    Raises:
        NoCourseError: the file is missing, too large, or outside of `artifacts`.

    """
    try:
        path = _metrics_path(run, artifacts)
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise NoCourseError(f"{path}: got {size:,} bytes, allowed at most {LARGEST_BYTES:,}")
        return _thinned(path)
    except OutsideRootError as error:
        raise NoCourseError(str(error)) from error
    except OSError as error:
        raise NoCourseError(f"{METRICS} of run {run.pk} is gone, or cannot be read") from error


def run_folder(run: TrainingRun, *, artifacts: Path) -> Path:
    """Return the folder that a run has left.

    Raises:
        OutsideRootError: it is outside of `artifacts`.

    """
    return inside("adapter", run.adapter, artifacts)


def _metrics_path(run: TrainingRun, artifacts: Path) -> Path:
    if run.adapter:
        return inside("adapter", f"{run.adapter}/{METRICS}", artifacts)
    work = inside("output_dir", f"{run.config.get('output_dir', '')}/{WORK_FOLDER}", artifacts)
    try:
        claim = read_claim(work)
    except (ValueError, TypeError) as error:
        raise NoCourseError(f"{work} cannot be read") from error
    if claim is None or (claim.run, claim.name) != (run.pk, run.folder_name):
        raise NoCourseError("The run left no metrics behind.")
    return inside("output_dir", str(work / METRICS), artifacts)


@dataclass(slots=True)
class _Point:
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        self.step = step
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        # More digits than a chart can show only make the page long.
        return float(f"{self.sums[name] / self.counts[name]:.6g}") if name in self.sums else None


def _thinned(path: Path) -> Course:
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    width = max(1, math.ceil(lines / MOST_POINTS))
    points: dict[int, _Point] = {}
    unreadable = 0
    with path.open("rb") as file:
        for number, line in enumerate(file):
            place, offset = divmod(number, width)
            if offset >= STEPS_A_POINT:
                continue
            found = _step(line)
            if found is None:
                unreadable += 1
            else:
                points.setdefault(place, _Point()).add(*found)
    names = sorted({name for point in points.values() for name in point.sums})
    return Course(
        tuple(point.step for point in points.values()),
        {name: tuple(point.mean(name) for point in points.values()) for name in names},
        lines,
        unreadable,
    )


def _step(line: bytes) -> tuple[int, dict[str, float]] | None:
    """Return a line's step with those of its metrics that are finite numbers; None for what is no step."""
    try:
        content: Any = json.loads(line)
        step = content.pop("step")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not _is_number(step):
        return None
    return int(step), {name: float(value) for name, value in content.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
