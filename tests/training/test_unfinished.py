"""A run that stopped is continued, or given up for the next one."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from memory.models import PreferencePair, ReviewStatus, SftPair
from tests.training.rows import preference_pairs, sft_pairs
from tests.training.runs import FOLDER, config, resumed, started
from training.ledger import release
from training.models import TrainingRun
from training.run_state import WORK_FOLDER, read_state
from training.runner import OnStep
from training.sampling.plan import Channel
from training.sampling.steps import drawn
from training.trainer.course import StepResult
from training.trainer.stopping import Interrupted
from training.unfinished import NothingToResumeError, discard_unfinished, resumable_run, stopped_run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def pool() -> None:
    sft_pairs(10)
    preference_pairs(8)


def interrupt_at(step: int) -> OnStep:
    """Return what sends this process the signal of Ctrl-C while the step ends."""

    def step_ended(result: StepResult) -> None:
        if result.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return step_ended


def stopped(model_path: str, folder: Path, *, step: int = 3) -> TrainingRun:
    with pytest.raises(Interrupted, match=f"stopped after step {step}"):
        started(config(model_path), folder, on_step=interrupt_at(step))
    return TrainingRun.objects.latest("pk")


def test_an_interrupted_run_keeps_its_pairs_and_its_checkpoint(tiny_model_path: str, tmp_path: Path) -> None:
    run = stopped(tiny_model_path, tmp_path)
    assert (run.status, run.steps) == (TrainingRun.Status.INTERRUPTED, 3)
    assert set(SftPair.objects.used()) == set(SftPair.objects.filter(uses__run=run)) != set()
    assert (tmp_path / FOLDER / WORK_FOLDER / "checkpoints" / "checkpoint-3").is_dir()
    assert not (tmp_path / FOLDER / "active").exists()


def test_an_interrupted_run_goes_on_with_the_texts_it_began_with(tiny_model_path: str, tmp_path: Path) -> None:
    run = stopped(tiny_model_path, tmp_path)
    hashes = set(SftPair.objects.values_list("content_hash", flat=True))
    SftPair.objects.update(response="edited meanwhile", content_hash="0" * 64)
    finished = resumed(config(tiny_model_path), tmp_path)
    assert finished == run
    assert (finished.status, finished.steps, finished.error) == (TrainingRun.Status.SUCCEEDED, 10, "")
    assert set(run.uses.values_list("step", flat=True)) == set(range(1, 11))
    assert set(run.uses.exclude(sft_pair=None).values_list("content_hash", flat=True)) == hashes


@pytest.mark.parametrize("channel", ["sft", "preference"])
def test_a_run_with_pairs_to_train_that_were_withdrawn_does_not_go_on(
    tiny_model_path: str, tmp_path: Path, channel: Channel
) -> None:
    run = stopped(tiny_model_path, tmp_path)
    plan = read_state(tmp_path / FOLDER / WORK_FOLDER).plan
    due = len(drawn(plan.steps[3:], channel))
    pairs = SftPair.objects if channel == "sft" else PreferencePair.objects
    pairs.update(review_status=ReviewStatus.REJECTED)
    reason = (
        rf"^run {run.pk}: {due} pairs that it has still to train were withdrawn since it began \(deleted, rejected, "
        r"merged, archived, weighted to nothing or without consent\); start a new one without --resume$"
    )
    with pytest.raises(NothingToResumeError, match=reason):
        resumed(config(tiny_model_path), tmp_path)
    run.refresh_from_db()
    assert run.status == TrainingRun.Status.INTERRUPTED
    pairs.update(review_status=ReviewStatus.PENDING)
    assert resumed(config(tiny_model_path), tmp_path) == run


def test_pairs_that_were_trained_and_withdrawn_since_keep_no_run_from_going_on(
    tiny_model_path: str, tmp_path: Path
) -> None:
    sft_pairs(20)
    stopped(tiny_model_path, tmp_path)
    prepared = read_state(tmp_path / FOLDER / WORK_FOLDER)
    due = drawn(prepared.plan.steps[3:], "sft")
    withdrawn, _ = SftPair.objects.exclude(pk__in=[prepared.sft.train[index].id or 0 for index in due]).delete()
    assert withdrawn > 0
    assert resumed(config(tiny_model_path), tmp_path).status == TrainingRun.Status.SUCCEEDED


def test_steps_before_the_checkpoint_are_not_taken_again(tiny_model_path: str, tmp_path: Path) -> None:
    stopped(tiny_model_path, tmp_path)
    taken: list[int] = []
    resumed(config(tiny_model_path), tmp_path, on_step=lambda result: taken.append(result.step))
    assert taken == list(range(4, 11))


def test_a_config_that_changed_meanwhile_is_told_and_not_taken(tiny_model_path: str, tmp_path: Path) -> None:
    run = stopped(tiny_model_path, tmp_path)
    said: list[str] = []
    finished = resumed(config(tiny_model_path, max_steps=4), tmp_path, said=said)
    assert said == [f"run.yaml differs from the config of run {run.pk}, which goes on with its own"]
    assert finished.steps == 10


def test_there_must_be_a_run_to_go_on(tiny_model_path: str, tmp_path: Path) -> None:
    with pytest.raises(NothingToResumeError, match=r"no run stopped before its end; start one without --resume$"):
        resumed(config(tiny_model_path), tmp_path)
    started(config(tiny_model_path), tmp_path)
    with pytest.raises(NothingToResumeError, match="no run stopped before its end"):
        resumed(config(tiny_model_path), tmp_path)
    assert TrainingRun.objects.count() == 1


def test_a_failed_run_does_not_go_on(tiny_model_path: str, tmp_path: Path) -> None:
    def fail(result: StepResult) -> None:
        if result.step == 5:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        started(config(tiny_model_path, save_steps=2), tmp_path, on_step=fail)
    with pytest.raises(NothingToResumeError, match=r"failed \(out of memory\) and its pairs are free again"):
        resumed(config(tiny_model_path), tmp_path)


def test_the_next_run_gives_up_an_interrupted_one(tiny_model_path: str, tmp_path: Path) -> None:
    given_up = stopped(tiny_model_path, tmp_path)
    said: list[str] = []
    run = started(config(tiny_model_path, max_steps=2), tmp_path, said=said)
    given_up.refresh_from_db()
    reason = "the process was interrupted at step 3; discarded when the next run began"
    assert (given_up.status, given_up.error) == (TrainingRun.Status.FAILED, reason)
    assert said[0] == f"run {given_up.pk}: {reason}"
    assert set(SftPair.objects.used()) == set(SftPair.objects.filter(uses__run=run))
    assert set(PreferencePair.objects.used()) == set(PreferencePair.objects.filter(uses__run=run))
    assert not (tmp_path / FOLDER / WORK_FOLDER).exists()


def test_a_process_that_died_is_known_by_the_state_it_left(tiny_model_path: str, tmp_path: Path) -> None:
    dead = stopped(tiny_model_path, tmp_path)
    TrainingRun.objects.update(status=TrainingRun.Status.RUNNING, finished_at=None, error="", exception_class="")
    started(config(tiny_model_path, max_steps=2), tmp_path)
    dead.refresh_from_db()
    assert dead.error == "the process ended without a word at step 3; discarded when the next run began"
    assert dead.finished_at is not None


def test_a_run_that_died_before_its_row_was_closed_is_the_success_that_it_is(
    tiny_model_path: str, tmp_path: Path
) -> None:
    run = started(config(tiny_model_path, max_steps=2), tmp_path)
    root = tmp_path / FOLDER
    TrainingRun.objects.update(status=TrainingRun.Status.RUNNING, finished_at=None, adapter="", metrics={})
    (root / "active").unlink()
    (root / WORK_FOLDER).mkdir()
    (root / WORK_FOLDER / "run.json").write_text(json.dumps({"run": run.pk, "name": run.folder_name}))
    assert discard_unfinished(root) is None
    closed = TrainingRun.objects.get()
    assert (closed.status, closed.adapter, closed.steps) == (TrainingRun.Status.SUCCEEDED, run.adapter, 2)
    assert closed.metrics == run.metrics
    assert closed.evaluation == run.evaluation
    assert (root / "active").resolve() == Path(run.adapter)
    assert not (root / WORK_FOLDER).exists()
    assert set(SftPair.objects.used()) == set(SftPair.objects.filter(uses__run=run)) != set()


def die_while_removing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the removal of a run's state end in its middle, when the claim has gone and the checkpoints have not."""
    remove = shutil.rmtree

    def removed(path: Path, ignore_errors: bool = False, **named: Any) -> None:
        if ignore_errors or not Path(path).name.startswith(WORK_FOLDER):
            remove(path, ignore_errors, **named)
            return
        (path / "run.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", removed)


def test_a_kill_while_the_state_of_a_success_is_removed_is_in_nobodys_way(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_while_removing(patch)
        started(config(tiny_model_path, max_steps=2), tmp_path)
    assert TrainingRun.objects.get().status == TrainingRun.Status.SUCCEEDED
    assert not (tmp_path / FOLDER / WORK_FOLDER).exists()


def test_a_kill_while_the_state_of_a_run_that_is_given_up_is_removed_leaves_its_pairs_free(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tiny_model_path, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_while_removing(patch)
        discard_unfinished(tmp_path / FOLDER)
    assert TrainingRun.objects.get().status == TrainingRun.Status.FAILED
    assert not SftPair.objects.used().exists()
    assert stopped_run(tmp_path / FOLDER) is None


def test_remains_that_name_no_run_are_no_run_and_go(tmp_path: Path) -> None:
    """As an earlier version left them when it was killed."""
    work = tmp_path / WORK_FOLDER
    (work / "checkpoints").mkdir(parents=True)
    assert stopped_run(tmp_path) is None
    assert work.exists()
    with pytest.raises(NothingToResumeError, match="no run stopped before its end"):
        resumable_run(tmp_path)
    assert not work.exists()


def test_the_state_of_another_database_is_cleared_away(tiny_model_path: str, tmp_path: Path) -> None:
    stopped(tiny_model_path, tmp_path)
    TrainingRun.objects.all().delete()
    with pytest.raises(NothingToResumeError):
        resumed(config(tiny_model_path), tmp_path)
    assert not (tmp_path / FOLDER / WORK_FOLDER).exists()


def test_an_interrupted_run_of_another_folder_keeps_its_pairs(tiny_model_path: str, tmp_path: Path) -> None:
    """Two folders train the same pairs; that one fails is nothing to the other, which may still go on."""
    run = stopped(tiny_model_path, tmp_path)
    repeated = {"sft_filters": {"unused_only": False}, "preference_filters": {"unused_only": False}}
    other = started(config(tiny_model_path, output_dir="lora/other", **repeated), tmp_path)
    other.fail(RuntimeError("no"))
    release(other)
    assert set(SftPair.objects.used()) == set(SftPair.objects.filter(uses__run=run))
