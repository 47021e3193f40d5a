"""A night: its steps one after the other, each for itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django.utils import timezone

from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun, MaintenanceStep
from maintenance.morning import write_report
from maintenance.night import Night, StepOutcome
from maintenance.peak_memory import peak_rss_mb, restart_peak
from maintenance.rehearsal import rehearsal
from maintenance.steps import STEPS, load_step
from memory.embeddings import Embedder, embedder_version, load_embedder
from training.lock import folder_lock

# Under ARTIFACTS_DIR: the lock, the reports, the backups.
FOLDER = "maintenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class NightOrder:
    """What a night is asked for.

    Attributes:
        config: the resolved config, with the path it came from.
        steps: names of the steps to take, in their order.
        dry_run: count what would be done, change nothing.
        artifacts: ARTIFACTS_DIR.
        project: the folder from which the paths of configs start.

    """

    config: NightlyConfig
    config_path: Path
    steps: Sequence[str]
    dry_run: bool
    artifacts: Path
    project: Path


def run_night(
    order: NightOrder,
    *,
    say: Callable[[str], None],
    progress: Callable[[str, float], None] = lambda text, share: None,
    version: Callable[[], str] = embedder_version,
    load: Callable[[], Embedder] = load_embedder,
    now: datetime | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> dict[str, Any]:
    """Take the steps of `order` and write the morning report; return the night as plain values.

    A step that fails is recorded with its reason, and the next one begins. A night that died before is marked as
    interrupted first; what it had done stays, and this one goes on from there. A dry run works on a copy (SQLite) or in
    a transaction that is rolled back, and leaves no file.

    Raises:
        LockedError: another night runs.
        KeyboardInterrupt: a person stopped it; the run says so.
        DatabaseError, OSError: the database or the disk cannot even hold the night's own row.

    """
    root = order.artifacts / FOLDER
    moment = now or timezone.now()
    with (
        folder_lock(root, doing="works", allowed="one night at a time") as lock,
        _database(order, root, using) as alias,
    ):
        _close_dead_runs(using=alias)
        run = MaintenanceRun(
            config_path=str(order.config_path), config=order.config.model_dump(mode="json"), started_at=moment
        )
        run.save(using=alias)
        lock.name_run(run.pk)

        def night(step: str) -> Night:
            return Night(
                run=run,
                step=step,
                config=order.config,
                now=moment,
                using=alias,
                dry_run=order.dry_run,
                artifacts=order.artifacts,
                project=order.project,
                say=say,
                progress=progress,
                version=version,
                load=load,
            )

        try:
            taken = [_take(night(name)) for name in STEPS if name in order.steps]
        except KeyboardInterrupt:
            run.finish(MaintenanceRun.Status.INTERRUPTED, error="stopped by a person", using=alias)
            raise
        failed = [step for step in taken if step.status == MaintenanceStep.Status.FAILED]
        status = MaintenanceRun.Status.FAILED if failed else MaintenanceRun.Status.SUCCEEDED
        error = "" if order.dry_run else _report(night("report"))
        run.finish(MaintenanceRun.Status.FAILED if error else status, error=error, using=alias)
        return as_dict(run, taken, dry_run=order.dry_run)


def as_dict(run: MaintenanceRun, steps: Sequence[MaintenanceStep], *, dry_run: bool) -> dict[str, Any]:
    """Return a night as plain values: what `--json` prints."""
    return {
        "run": None if dry_run else run.pk,
        "dry_run": dry_run,
        "status": str(run.status),
        "steps": {
            step.name: {
                "status": str(step.status),
                "seconds": step.seconds,
                "peak_rss_mb": step.peak_rss_mb,
                "counts": step.counts,
                "error": step.error,
            }
            for step in steps
        },
        "report": run.report or None,
        "error": run.error,
    }


def _database(order: NightOrder, root: Path, using: str) -> AbstractContextManager[str]:
    return rehearsal(using=using, folder=root) if order.dry_run else nullcontext(using)


def _take(night: Night) -> MaintenanceStep:
    """Take one step and record how it went; what it raises ends here, unless a person stopped it."""
    row = MaintenanceStep(run=night.run, name=night.step)
    row.save(using=night.using)
    restart_peak()
    began = time.perf_counter()

    def end(status: MaintenanceStep.Status, outcome: StepOutcome, error: BaseException | str = "") -> None:
        row.end(
            status,
            seconds=round(time.perf_counter() - began, 3),
            peak_rss_mb=peak_rss_mb(),
            counts=dict(outcome.counts),
            details=dict(outcome.details),
            error=error,
            using=night.using,
        )

    try:
        outcome = load_step(night.step)(night)
    except KeyboardInterrupt as stop:
        end(MaintenanceStep.Status.INTERRUPTED, StepOutcome(), "stopped by a person" if not str(stop) else stop)
        raise
    except Exception as error:
        night.say(f"{night.step}: {error}")
        end(MaintenanceStep.Status.FAILED, StepOutcome(), error)
        return row
    skipped = MaintenanceStep.Status.SKIPPED if outcome.skipped else MaintenanceStep.Status.SUCCEEDED
    end(skipped, outcome, outcome.skipped)
    return row


def _close_dead_runs(*, using: str) -> None:
    """Mark what a process that died left open; the caller holds the lock, so that no living one is meant."""
    dead = MaintenanceRun.objects.using(using).filter(status=MaintenanceRun.Status.RUNNING)
    why = "the process ended without a word"
    MaintenanceStep.objects.using(using).filter(run__in=dead, status=MaintenanceStep.Status.RUNNING).update(
        status=MaintenanceStep.Status.INTERRUPTED, error=why
    )
    dead.update(status=MaintenanceRun.Status.INTERRUPTED, error=why, finished_at=timezone.now())


def _report(night: Night) -> str:
    """Write the morning report; return why it could not be written, which is no reason to lose the night."""
    try:
        folder = write_report(night)
        night.run.name_report(str(folder), using=night.using)
    except (OSError, DatabaseError, ValueError) as error:
        night.say(f"report: {error}")
        return f"report: {error}"
    return ""
