"""A run that ended before its end: found, counted as finished, discarded."""

from __future__ import annotations

from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, transaction

from memory.bulk import key_list
from training.artifacts import MANIFEST
from training.ledger import PAIRS, release
from training.models import TrainingRun
from training.run_results import record_success
from training.run_state import WORK_FOLDER, PreparedRun, read_claim, remove_folder
from training.sampling.steps import drawn


class NothingToResumeError(ValueError):
    """No run of the folder can go on; the message says why."""


class WithdrawnError(NothingToResumeError):
    """Pairs that the run has still to train may not be trained any more."""


def stopped_run(root: Path, *, using: str = DEFAULT_DB_ALIAS) -> TrainingRun | None:
    """Return the run that left its state in `root` and can go on, None where there is none; nothing is changed."""
    claim = read_claim(root / WORK_FOLDER)
    if claim is None:
        return None
    run = TrainingRun.objects.using(using).unfinished().filter(pk=claim.run).first()
    return run if run is not None and run.folder_name == claim.name else None


def unfinished_run(root: Path) -> TrainingRun | None:
    """Return the run that left its state in `root`, or None; the caller holds the folder's lock.

    A kill in the moment between a run's last rename and its row in the database leaves a whole folder and an open row:
    the row is closed here, and the run is returned as the success that it is. State that no run of this database owns
    goes away, and so do remains that name no run.
    """
    work = root / WORK_FOLDER
    claim = read_claim(work)
    run = None if claim is None else TrainingRun.objects.filter(pk=claim.run).first()
    if claim is None or run is None or run.folder_name != claim.name:
        if work.is_dir():
            remove_folder(work)
        return None
    if (root / claim.name / MANIFEST).is_file():
        record_success(run, root / claim.name)
        remove_folder(work)
    return run


def resumable_run(root: Path) -> TrainingRun:
    """Return the run of the folder that can go on, or has just turned out to be finished; the caller holds the lock.

    Raises:
        NothingToResumeError: there is none, or it failed.

    """
    run = unfinished_run(root)
    if run is None:
        raise NothingToResumeError(f"{root}: no run stopped before its end; start one without --resume")
    if run.status == TrainingRun.Status.FAILED:
        raise NothingToResumeError(
            f"run {run.pk} failed ({run.error}) and its pairs are free again; start a new one without --resume "
            f"(the checkpoints of run {run.pk} are kept in {root / WORK_FOLDER} until then)"
        )
    return run


def check_none_withdrawn(run: TrainingRun, prepared: PreparedRun, *, done: int) -> None:
    """Refuse to go on with a run that would train, after its first `done` steps, pairs that nobody may train now.

    Raises:
        WithdrawnError: some were deleted or are no longer `trainable`.

    """
    withdrawn = 0
    for channel, model in PAIRS.items():
        records = prepared.records(channel)
        drawn_records = (records[index] for index in drawn(prepared.plan.steps[done:], channel))
        ids = {record.id for record in drawn_records if record.id is not None}
        pairs = model.objects
        found = pairs.trainable().filter(pk__in=key_list(sorted(ids), using=pairs.db))
        withdrawn += len(ids) - found.count()
    if withdrawn:
        raise WithdrawnError(
            f"run {run.pk}: {withdrawn} pairs that it has still to train were withdrawn since it began (deleted, "
            "rejected, merged, archived, weighted to nothing or without consent); start a new one without --resume"
        )


def discard_unfinished(root: Path) -> TrainingRun | None:
    """Give up the run that left its state in `root`, set its pairs free, return it; None where there is none.

    The caller holds the folder's lock, so that its process is known to be dead. A failed run was given up when it
    failed: of that the checkpoints go.
    """
    run = unfinished_run(root)
    if run is None or run.status == TrainingRun.Status.SUCCEEDED:
        return None
    has_failed = run.status == TrainingRun.Status.FAILED
    if not has_failed:
        # Before its state goes: a kill between the two must not leave pairs that nobody would set free.
        with transaction.atomic():
            run.discard()
            release(run)
    remove_folder(root / WORK_FOLDER)
    return None if has_failed else run
