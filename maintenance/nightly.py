"""A night: its steps one after the other, each for itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.utils import timezone

from maintenance.config import NightlyConfig
from maintenance.database_lock import database_lock
from maintenance.models import MaintenanceRun, MaintenanceStep
from maintenance.morning import write_report
from maintenance.night import Night, PartlyDoneError, StepOutcome
from maintenance.peak_memory import peak_rss_mb, restart_peak
from maintenance.rehearsal import clear_rehearsals, rehearsal
from maintenance.steps import STEPS, load_step
from memory.embeddings import Embedder, embedder_version, load_embedder
from training.lock import FolderLock, folder_lock


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
    moment = now or timezone.now()
    with night_lock(order.artifacts, using=using) as lock, _database(order, using) as alias:
        close_dead_runs(using=alias)
        run = MaintenanceRun(
            config_path=str(order.config_path), config=order.config.model_dump(mode="json"), started_at=moment
        )
        run.save(using=alias)
        if not order.dry_run:
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
            _record_again(run, taken, using=alias)
            failed = [step for step in taken if step.status == MaintenanceStep.Status.FAILED]
            error = "" if order.dry_run else _report(night("report"))
        except KeyboardInterrupt:
            run.finish(MaintenanceRun.Status.INTERRUPTED, error="stopped by a person", using=alias)
            raise
        status = MaintenanceRun.Status.FAILED if failed or error else MaintenanceRun.Status.SUCCEEDED
        run.finish(status, error=error, using=alias)
        return as_dict(run, taken, dry_run=order.dry_run)


def night_folder(artifacts: Path) -> Path:
    """Return the folder of the lock, the reports, the backups."""
    return artifacts / "maintenance"


@contextmanager
def night_lock(artifacts: Path, *, using: str = DEFAULT_DB_ALIAS) -> Iterator[FolderLock]:
    """Hold the locks that let one night, or the undoing of one, work at a time, in the folder and in the database.

    Raises:
        LockedError: another process holds one of them.
        DatabaseError: the server cannot be reached.

    """
    with folder_lock(night_folder(artifacts), doing="works", allowed="one night at a time") as lock:
        clear_rehearsals(night_folder(artifacts))
        with database_lock(using=using):
            yield lock


def close_dead_runs(*, using: str) -> None:
    """Mark what a process that died left open; the caller holds the lock, so that no living one is meant."""
    dead = MaintenanceRun.objects.using(using).filter(status=MaintenanceRun.Status.RUNNING)
    dead_steps = MaintenanceStep.objects.using(using).filter(status=MaintenanceStep.Status.RUNNING)
    why = "the process ended without a word"
    with transaction.atomic(using=using):
        dead_steps.update(status=MaintenanceStep.Status.INTERRUPTED, error=why)
        dead.update(status=MaintenanceRun.Status.INTERRUPTED, error=why, finished_at=timezone.now())


def as_dict(run: MaintenanceRun, steps: Sequence[MaintenanceStep], *, dry_run: bool) -> dict[str, Any]:
    """Return a night as plain values: what `--json` prints."""
    return {
        "run": None if dry_run else run.pk,
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
    }


def _database(order: NightOrder, using: str) -> AbstractContextManager[str]:
    return rehearsal(using=using, folder=night_folder(order.artifacts)) if order.dry_run else nullcontext(using)


def _take(night: Night) -> MaintenanceStep:
    """Take one step and record how it went; what it raises ends here, unless a person stopped it.

    That the database cannot even record it, as while another process keeps it locked, is such a failure too.
    """
    row = MaintenanceStep(run=night.run, name=night.step)
    restart_peak()
    began = time.perf_counter()

    def end(status: MaintenanceStep.Status, outcome: StepOutcome, error: BaseException | str = "") -> None:
        with night.isolated():
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
        with night.isolated():
            row.save(using=night.using)
        with night.isolated():
            outcome = load_step(night.step)(night)
        taken = MaintenanceStep.Status.SKIPPED if outcome.skipped else MaintenanceStep.Status.SUCCEEDED
        end(taken, outcome, outcome.skipped)
    except KeyboardInterrupt as stop:
        with _unrecorded(night):
            end(MaintenanceStep.Status.INTERRUPTED, StepOutcome(), "stopped by a person" if not str(stop) else stop)
        raise
    except Exception as error:
        night.say(f"{night.step}: {_line(error)}")
        if not connections[night.using].in_atomic_block:
            # A server that ended the session is asked for a new one by the next query.
            connections[night.using].close_if_unusable_or_obsolete()
        with _unrecorded(night):
            done = error.outcome if isinstance(error, PartlyDoneError) else StepOutcome()
            end(MaintenanceStep.Status.FAILED, done, error)
    return row


@contextmanager
def _unrecorded(night: Night) -> Iterator[None]:
    """Let the night go on where the database does not take the record of a step, as yet."""
    try:
        yield
    except DatabaseError as error:
        night.say(f"{night.step}: not recorded: {_line(error)}")


def _record_again(run: MaintenanceRun, steps: Sequence[MaintenanceStep], *, using: str) -> None:
    """Store the ends of steps that the database did not take when they came."""
    stored = dict(MaintenanceStep.objects.using(using).filter(run=run).values_list("pk", "status"))
    for step in steps:
        if stored.get(step.pk) != step.status:
            step.save(using=using)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _report(night: Night) -> str:
    """Write the morning report; return why it could not be written, which is no reason to lose the night."""
    try:
        with night.isolated():
            write_report(night)
    except Exception as error:
        night.say(f"report: {_line(error)}")
        return f"report: {_line(error)}"
    return ""
