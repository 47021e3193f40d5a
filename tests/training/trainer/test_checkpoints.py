"""A run that is stopped goes on as if it had not been."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.trainer.runs import GENERAL, PREFERENCE, SFT, Trained, config, run
from training.config import TrainingConfig
from training.evaluation.evaluation_set import EvaluationSet
from training.trainer.adapters import AdapterError
from training.trainer.checkpoints import checkpoint_step, last_checkpoint
from training.trainer.course import StepResult
from training.trainer.stopping import Interrupted

# Everything that has a state of its own: weights, plateaus, schedule, retention.
STATEFUL: dict[str, Any] = {
    "max_steps": 12,
    "save_steps": 4,
    "normalize_losses": True,
    "dynamic_weighting": True,
    "lr_scheduler_type": "cosine",
    "retention": {"weight": 1.0, "every_steps": 3, "batch_size": 2},
    "early_stopping": {"every_steps": 2, "patience": 50},
}
EVALUATION = EvaluationSet(sft=SFT[:3], preference=PREFERENCE[:3])


def settings(tiny_model_path: str) -> TrainingConfig:
    return config(tiny_model_path, **STATEFUL)


def trained(tiny_model_path: str, tmp_path: Path, **given: Any) -> Trained:
    return run(settings(tiny_model_path), tmp_path, retention=GENERAL, evaluation=EVALUATION, **given)


class Killed(BaseException):
    """Stands for the end of the process."""


def stop_after(step: int) -> Any:
    def on_step(result: StepResult) -> None:
        if result.step == step:
            raise Killed

    return on_step


@pytest.mark.parametrize(
    ("killed_at", "resumed_at"),
    [pytest.param(5, 4, marks=pytest.mark.slow), (8, 4), pytest.param(11, 8, marks=pytest.mark.slow)],
)
def test_a_killed_run_ends_as_an_undisturbed_one(
    killed_at: int, resumed_at: int, tiny_model_path: str, tmp_path: Path
) -> None:
    whole = trained(tiny_model_path, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tiny_model_path, tmp_path / "killed", on_step=stop_after(killed_at))
    checkpoint = last_checkpoint(tmp_path / "killed" / "work")
    assert checkpoint is not None
    assert checkpoint_step(checkpoint) == resumed_at
    rest = trained(tiny_model_path, tmp_path / "killed", resume=checkpoint)
    assert [step.step for step in rest.steps] == list(range(resumed_at + 1, 13))
    assert rest.timeless() == whole.timeless()[resumed_at:]
    assert rest.outcome.adapter_checksum == whole.outcome.adapter_checksum
    assert rest.outcome.changes == whole.outcome.changes


def test_a_resumed_run_stops_early_where_it_would_have(tiny_model_path: str, tmp_path: Path) -> None:
    """At next to no rate nothing improves; two of the three measurements lie before the kill."""
    early = {"every_steps": 2, "patience": 3, "min_improvement": 0.01}
    still = {"sft_learning_rate": 1e-12, "preference_learning_rate": 1e-12}
    given = config(tiny_model_path, max_steps=20, save_steps=4, early_stopping=early, **still)
    with pytest.raises(Killed):
        run(given, tmp_path, evaluation=EVALUATION, on_step=stop_after(5))
    rest = run(given, tmp_path, evaluation=EVALUATION, resume=last_checkpoint(tmp_path / "work"))
    assert [step.step for step in rest.steps] == [5, 6]
    assert rest.outcome.stopped_early == (
        "after 6 of 20 steps the held-out measurements no longer improved (preference at step 6, memory at step 6)"
    )


def test_a_resumed_mixed_run_keeps_the_rate_of_the_channel_that_goes_on(tiny_model_path: str, tmp_path: Path) -> None:
    """The checkpoint is that of the step at which the memory channel stopped."""
    early = {"every_steps": 2, "patience": 1, "min_improvement": 0.01}
    still = {"sft_learning_rate": 4e-12, "preference_learning_rate": 1e-12, "batch_mixing": "mixed"}
    given = config(tiny_model_path, max_steps=6, save_steps=2, early_stopping=early, **still)
    measured = EvaluationSet(sft=SFT[:3])
    with pytest.raises(Killed):
        run(given, tmp_path, evaluation=measured, on_step=stop_after(3))
    rest = run(given, tmp_path, evaluation=measured, resume=last_checkpoint(tmp_path / "work"))
    assert rest.outcome.stopped == {"sft": 2}
    assert [step.step for step in rest.steps] == [3, 4, 5, 6]
    assert rest.metric("learning_rate") == pytest.approx([1e-12] * 4, abs=1e-15)


def test_a_run_that_is_killed_after_all_channels_have_stopped_takes_no_further_step(
    tiny_model_path: str, tmp_path: Path
) -> None:
    early = {"every_steps": 2, "patience": 2, "min_improvement": 0.01}
    still = {"sft_learning_rate": 1e-12, "preference_learning_rate": 1e-12}
    given = config(tiny_model_path, max_steps=20, save_steps=4, early_stopping=early, **still)
    whole = run(given, tmp_path, evaluation=EVALUATION).outcome
    rest = run(given, tmp_path, evaluation=EVALUATION, resume=last_checkpoint(tmp_path / "work"))
    assert (rest.steps, rest.outcome.tokens_per_second) == ([], None)
    assert rest.outcome.stopped_early == whole.stopped_early
    assert (whole.stopped_early or "").startswith("after 4 of 20 steps ")
    assert rest.outcome.adapter_checksum == whole.adapter_checksum
    assert rest.outcome.changes == whole.changes


def test_a_checkpoint_that_a_kill_cut_short_is_passed_over(tiny_model_path: str, tmp_path: Path) -> None:
    trained(tiny_model_path, tmp_path)
    newest = last_checkpoint(tmp_path / "work")
    assert newest is not None
    assert checkpoint_step(newest) == 12
    state = newest / "trainer_state.json"
    state.write_text(state.read_text()[:-20])
    older = last_checkpoint(tmp_path / "work")
    assert older is not None
    assert checkpoint_step(older) == 8


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None


def test_a_checkpoint_whose_weights_do_not_arrive_is_refused(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading that silently leaves everything as it was, as older libraries did, must not go unnoticed."""
    with pytest.raises(Killed):
        trained(tiny_model_path, tmp_path, on_step=stop_after(5))
    monkeypatch.setattr("peft.PeftModel.load_adapter", lambda *_, **__: None)
    with pytest.raises(AdapterError, match="the adapter in memory is not the one in the file"):
        trained(tiny_model_path, tmp_path, resume=last_checkpoint(tmp_path / "work"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves_it(number: signal.Signals, tiny_model_path: str, tmp_path: Path) -> None:
    def on_step(result: StepResult) -> None:
        if result.step == 6:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 6") as caught:
        trained(tiny_model_path, tmp_path, on_step=on_step)
    assert caught.value.checkpoint == tmp_path / "work" / "checkpoint-6"
    assert json.loads((tmp_path / "work/checkpoint-6/trainer_state.json").read_text())["global_step"] == 6
    assert signal.getsignal(number) == before


def test_a_second_signal_interrupts_at_once(tiny_model_path: str, tmp_path: Path) -> None:
    def on_step(result: StepResult) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tiny_model_path, tmp_path, on_step=on_step)


def test_a_signal_during_the_last_step_changes_nothing(tiny_model_path: str, tmp_path: Path) -> None:
    def on_step(result: StepResult) -> None:
        if result.step == 12:
            os.kill(os.getpid(), signal.SIGINT)

    assert trained(tiny_model_path, tmp_path, on_step=on_step).outcome.stopped_early is None
