"""The job of a night: maintenance, now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.reporting import Report
from dualchannel_site.desk.models import Job
from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun
from maintenance.nightly import NightOrder, run_night
from training.config import load_section


def take_night(job: Job, report: Report) -> Outcome:
    """Take the steps that the options name, as `manage.py nightly_maintenance` does."""
    steps, dry_run = job.options["steps"], job.options["dry_run"]
    order = NightOrder(
        config=load_section(NightlyConfig, settings.BASE_DIR / settings.NIGHTLY_CONFIG),
        config_path=settings.NIGHTLY_CONFIG,
        steps=steps,
        dry_run=dry_run,
        artifacts=settings.ARTIFACTS_DIR,
        project=settings.BASE_DIR,
    )
    now = timezone.now()
    course = _Course(report, steps, began_at=now)
    if not dry_run:
        # A dry run's rows are in a copy of the database, or in a transaction of its own.
        report.look = course.look
    night = run_night(order, say=report.say, progress=course.step_progress, now=now, using=DEFAULT_DB_ALIAS)
    return Outcome(night, "" if night["status"] == "succeeded" else _failure(night))


class _Course:
    """How far a night is: the step that is being taken, and what that says of itself."""

    def __init__(self, report: Report, steps: Sequence[str], *, began_at: datetime) -> None:
        self._report, self._steps, self._began_at = report, steps, began_at
        self._run: MaintenanceRun | None = None
        self._step = ""
        self._words, self._share = "", 0.0

    def step_progress(self, text: str, share: float) -> None:
        """Take what a step says of itself."""
        self._words, self._share = text, share
        self._tell()

    def look(self) -> None:
        """Look up which step the night has come to."""
        if self._run is None:
            self._run = MaintenanceRun.objects.filter(started_at=self._began_at).order_by("-pk").first()
            if self._run is None:
                return
            self._report.link(maintenance_run=self._run.pk)
        step = self._run.steps.order_by("-pk").values_list("name", flat=True).first()
        if step is not None and step != self._step:
            self._step, self._words, self._share = step, "", 0.0
            self._tell()

    def _tell(self) -> None:
        words = f": {self._words}" if self._words else ""
        if self._step not in self._steps:
            self._report.progress(self._words, None)
            return
        number = list(self._steps).index(self._step)
        share = (number + self._share) / len(self._steps)
        self._report.progress(f"{self._step} ({number + 1} of {len(self._steps)}){words}", share)


def _failure(night: dict[str, Any]) -> str:
    failed = [f"{name}: {step['error']}" for name, step in night["steps"].items() if step["status"] == "failed"]
    return "; ".join(failed) or "the morning report could not be written or sent"
