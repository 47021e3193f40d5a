"""The bridge between the database and the trainer: rows in, ledger, run row, adapter out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import transaction

from training.artifacts import adapter_root
from training.config import TrainingConfig
from training.evaluation.evaluation_set import load_evaluation_set
from training.history import METRICS, History
from training.ledger import UsedBatch, record_step, release
from training.lock import FolderLock, folder_lock
from training.models import TrainingRun
from training.preparation import Places, prepare
from training.run_results import record_success, write_results
from training.run_state import (
    CHECKPOINTS,
    WORK_FOLDER,
    PreparedRun,
    claim_state,
    read_state,
    remove_folder,
    write_state,
)
from training.trainer.stopping import Interrupted
from training.unfinished import check_none_withdrawn, discard_unfinished, resumable_run

if TYPE_CHECKING:
    from training.trainer.course import StepResult
    from training.trainer.run import RunFolders, TrainingData, TrainingOutcome

OnStep = Callable[["StepResult"], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """What every process of a run gets to train."""

    prepared: PreparedRun
    data: TrainingData
    folders: RunFolders
    checkpoint: Path | None

    def train(self, on_step: OnStep) -> TrainingOutcome:
        from training.trainer.run import train

        return train(
            self.prepared.config,
            self.data,
            self.prepared.plan,
            folders=self.folders,
            adapter=self.prepared.adapter,
            resume=self.checkpoint,
            on_step=on_step,
        )


def start(
    config: TrainingConfig, *, config_path: Path, places: Places, say: Say, on_step: OnStep | None = None
) -> TrainingRun:
    """Train a new run: mark the pairs as they are used, keep the adapter, close the run's row.

    A run of the same folder that died is discarded first. One that fails leaves no adapter, and its pairs are free
    again; one that is interrupted keeps them, for `resume`. `say` hears what a person should know on the way, `on_step`
    of every step once it is in the ledger.

    Raises:
        LockedError: another process trains in the config's folder.
        NotEnoughPairs, OutsideRootError, ValueError: see `prepare`; then there is no run.
        BaseModelError, AdapterError, DivergedError, Interrupted: see `training.trainer.run.train`.
        OSError, SafetensorError: the disk will not take a checkpoint or the adapter.

    """
    root = adapter_root(config, artifacts_dir=places.artifacts)
    with folder_lock(root) as lock:
        if discarded := discard_unfinished(root):
            say(f"run {discarded.pk}: {discarded.error}")
        prepared = prepare(config, config_path=config_path, places=places, with_tokenizer=True)
        if config.init_adapter == "continue" and prepared.adapter is None:
            say(f"{root} has no active adapter to continue from yet; starting a fresh one")
        for skipped in (*prepared.sft.skipped, *prepared.preference.skipped):
            say(f"skipped {skipped}")
        data = _training_data(prepared, places)
        run = _new_run(root, prepared)
        say(
            f"run {run.pk}: {len(prepared.sft.train)} memory pairs and {len(prepared.preference.train)} preference "
            f"pairs, {len(prepared.plan.steps)} steps …"
        )
        return _execute(root, run, prepared, data, places=places, lock=lock, say=say, on_step=on_step)


def resume(
    config: TrainingConfig, *, config_path: Path, places: Places, say: Say, on_step: OnStep | None = None
) -> TrainingRun:
    """Continue the run of the config's folder that ended before its end, from its last checkpoint.

    It goes on with the config, the texts and the plan that it began with; `config` only says which folder.

    Raises:
        NothingToResumeError: no run of the folder can go on, or pairs that it has still to train were withdrawn.
        LockedError, BaseModelError, AdapterError, DivergedError, Interrupted, OSError, SafetensorError: see
            `start`.

    """
    from training.trainer.checkpoints import checkpoint_step, last_checkpoint

    root = adapter_root(config, artifacts_dir=places.artifacts)
    with folder_lock(root) as lock:
        run = resumable_run(root)
        if run.status == TrainingRun.Status.SUCCEEDED:
            say(f"run {run.pk} had trained to its end; only its success was still to be recorded")
            return run
        prepared = read_state(root / WORK_FOLDER)
        check_none_withdrawn(run, prepared, done=checkpoint_step(last_checkpoint(root / WORK_FOLDER / CHECKPOINTS)))
        if prepared.config != config:
            say(f"{config_path} differs from the config of run {run.pk}, which goes on with its own")
        data = _training_data(prepared, places)
        run.resume()
        return _execute(root, run, prepared, data, places=places, lock=lock, say=say, on_step=on_step)


def follow() -> None:
    """Train as one of several processes that is not the main one: no database, no folder, no word."""
    from training.trainer.processes import from_main_process

    try:
        job: _Job = from_main_process(None)
    except RuntimeError:
        # The connection is gone: the main process has refused the run, and said why.
        return
    # The main process says how a run that was stopped goes on.
    with suppress(Interrupted):
        job.train(lambda _: None)


def _execute(
    root: Path,
    run: TrainingRun,
    prepared: PreparedRun,
    data: TrainingData,
    *,
    places: Places,
    lock: FolderLock,
    say: Say,
    on_step: OnStep | None,
) -> TrainingRun:
    # Torch and its friends take seconds to import; a refusal comes before.
    from training.trainer.checkpoints import checkpoint_step, last_checkpoint
    from training.trainer.processes import from_main_process
    from training.trainer.run import RunFolders

    lock.name_run(run.pk)
    work = root / WORK_FOLDER
    checkpoint = last_checkpoint(work / CHECKPOINTS)
    history = History.open(work / METRICS, prepared.plan.steps, until=checkpoint_step(checkpoint))

    def step_ended(result: StepResult) -> None:
        record_step(run, step=result.step, batches=_used_batches(prepared, result))
        history.add(result)
        if on_step is not None:
            on_step(result)

    try:
        folders = RunFolders(work / CHECKPOINTS, places.models, places.references)
        outcome = from_main_process(_Job(prepared, data, folders, checkpoint)).train(step_ended)
        folder = write_results(root, run, prepared, outcome, history, project=places.project)
    except (KeyboardInterrupt, Interrupted) as stop:
        run.interrupt(stop)
        raise
    except BaseException as error:
        # A kill between the two would leave used pairs with a run that nobody gives up any more.
        with transaction.atomic():
            run.fail(error)
            release(run)
        if (kept := last_checkpoint(work / CHECKPOINTS)) is None:
            remove_folder(work)
        else:
            say(f"run {run.pk}: the last good checkpoint is kept in {kept} until the next run begins")
        raise
    record_success(run, folder)
    remove_folder(work)
    return run


def _new_run(root: Path, prepared: PreparedRun) -> TrainingRun:
    work = root / WORK_FOLDER
    state = write_state(work, prepared)
    with transaction.atomic():
        run = TrainingRun.objects.create(
            config_path=str(prepared.config_path), config=prepared.config.model_dump(mode="json")
        )
        claim_state(state, work, run)
    return run


def _training_data(prepared: PreparedRun, places: Places) -> TrainingData:
    evaluation = load_evaluation_set(
        prepared.config,
        base_dir=places.project,
        sft=prepared.sft.held_out,
        preference=prepared.preference.held_out,
    )
    from training.trainer.run import TrainingData

    return TrainingData(prepared.sft.train, prepared.preference.train, evaluation, prepared.retention)


def _used_batches(prepared: PreparedRun, result: StepResult) -> list[UsedBatch]:
    return [
        UsedBatch(
            batch.channel,
            [prepared.records(batch.channel)[index] for index in batch.indices],
            epoch=batch.epoch,
            weight=result.metrics[f"{batch.channel}/factor"] / len(batch.indices),
        )
        for batch in result.planned.batches
        if batch.channel in result.trained
    ]
