"""The jobs of training: the plan of a run, a run, the rest of a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from dualchannel_site.desk.jobs.configs import config_checksum, config_path, planned_config
from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.reporting import Report
from dualchannel_site.desk.models import Job
from training.artifacts import adapter_root
from training.config import TrainingConfig
from training.dry_run import planned_run
from training.preparation import Places
from training.run_results import run_report
from training.run_state import WORK_FOLDER, planned_steps, read_claim
from training.runner import resume, start

if TYPE_CHECKING:
    from training.trainer.course import StepResult


def plan_training(job: Job, report: Report) -> Outcome:
    """Plan the run of the config that the options name, as `manage.py train_dual --dry-run` does."""
    config, path = _chosen(job)
    report.progress("selecting pairs, planning the run")
    plan = planned_run(config, config_path=path, places=_places())
    return Outcome({**plan, "config_checksum": config_checksum(config)})


def train(job: Job, report: Report) -> Outcome:
    """Train by the config that the options name, as `manage.py train_dual` does, `--resume` included."""
    config, path = _chosen(job)
    course = _Course(report, adapter_root(config, artifacts_dir=settings.ARTIFACTS_DIR) / WORK_FOLDER)
    go = resume if job.options.get("resume") else start
    if go is resume:
        course.find_run()
    report.progress("loading the model, measuring it before training")
    run = go(config, config_path=path, places=_places(), say=course.said, on_step=course.stepped)
    report.link(training_run=run.pk)
    return Outcome(run_report(run))


class _Course:
    """How far a run is, and which one it is."""

    def __init__(self, report: Report, work: Path) -> None:
        self._report, self._work = report, work
        self._run: int | None = None
        self._steps: int | None = None

    def said(self, line: str) -> None:
        """Take a line of the runner's; from its first one on there may be a run."""
        self._report.say(line)
        self.find_run()

    def stepped(self, result: StepResult) -> None:
        """Take the end of an optimiser step."""
        self.find_run()
        if self._steps is None:
            self._steps = planned_steps(self._work)
        losses = [
            f"{name} loss {loss:.3f}"
            for name, loss in (("memory", result.loss("sft")), ("preference", result.loss("preference")))
            if loss is not None
        ]
        words = f"step {result.step:,} of {self._steps:,}: {', '.join(losses)}"
        if result.step == self._steps:
            words += "; measuring what was learned"
        self._report.progress(words, result.step / self._steps)

    def find_run(self) -> None:
        """Say which run it is, once its state is there."""
        if self._run is None and (claim := read_claim(self._work)) is not None:
            self._run = claim.run
            self._report.link(training_run=claim.run)


def _chosen(job: Job) -> tuple[TrainingConfig, Path]:
    options: dict[str, Any] = job.options
    name, overrides = options["config"], options["overrides"]
    path = config_path(name)
    shown = path.relative_to(settings.BASE_DIR) if path.is_relative_to(settings.BASE_DIR) else path
    return planned_config(name, overrides, checksum=options.get("config_checksum")), shown


def _places() -> Places:
    return Places(project=settings.BASE_DIR, artifacts=settings.ARTIFACTS_DIR)
