"""Each step is a line, and a run that goes on finds its own."""

import json
from pathlib import Path

import pytest

from training.history import METRICS, ChannelOutcome, History
from training.sampling.plan import Channel, PlannedBatch, PlannedStep
from training.trainer.course import StepResult

STEPS = (
    PlannedStep((PlannedBatch("sft", (0, 1), 0),)),
    PlannedStep((PlannedBatch("preference", (0, 1), 0),)),
    PlannedStep((PlannedBatch("sft", (2, 0), 1), PlannedBatch("preference", (2,), 0))),
)
LOSSES: tuple[dict[Channel, float], ...] = ({"sft": 3.0}, {"preference": 0.7}, {"sft": 2.0, "preference": 0.5})


def result(step: int, **losses: float) -> StepResult:
    trained: tuple[Channel, ...] = tuple(channel for channel in ("sft", "preference") if channel in losses)
    metrics = {f"{channel}/loss": loss for channel, loss in losses.items()}
    return StepResult(step, STEPS[step - 1], trained, metrics)


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History.open(tmp_path / METRICS, STEPS, until=0)
    for number, losses in enumerate(LOSSES, start=1):
        history.add(result(number, **losses))
    return history


def test_each_step_is_on_disk_as_it_ends(history: History) -> None:
    lines = [json.loads(line) for line in history.path.read_text().splitlines()]
    assert lines[2] == {
        "step": 3,
        "trained": ["sft", "preference"],
        "sft/loss": 2.0,
        "preference/loss": 0.5,
        "sft/pairs_used": 3.0,
        "preference/pairs_used": 3.0,
    }
    assert [line["step"] for line in lines] == [1, 2, 3]


def test_a_channel_is_told_by_its_own_steps(history: History) -> None:
    assert history.outcome("sft") == ChannelOutcome(loss_first=3.0, loss_last=2.0, batches=2, pairs_used=3)
    assert history.outcome("preference") == ChannelOutcome(loss_first=0.7, loss_last=0.5, batches=2, pairs_used=3)
    assert (history.epochs("sft"), history.epochs("preference")) == (2, 1)
    assert history.uses("sft") == {0: 2, 1: 1, 2: 1}


def test_a_channel_that_was_passed_over_has_used_nothing(tmp_path: Path) -> None:
    history = History.open(tmp_path / METRICS, STEPS, until=0)
    history.add(result(3, preference=0.5))
    assert history.outcome("sft") == ChannelOutcome(loss_first=None, loss_last=None, batches=0, pairs_used=0)
    assert history.epochs("sft") == 0
    assert history.uses("preference") == {2: 1}


@pytest.mark.parametrize("cut_short", ["", '{"step": 4, "tra'])
def test_steps_after_the_checkpoint_are_forgotten(history: History, cut_short: str) -> None:
    with history.path.open("a") as file:
        file.write(cut_short)
    again = History.open(history.path, STEPS, until=2)
    assert again.outcome("sft").batches == 1
    again.add(result(3, sft=1.5, preference=0.4))
    assert again.outcome("sft") == ChannelOutcome(loss_first=3.0, loss_last=1.5, batches=2, pairs_used=3)
    assert [json.loads(line)["step"] for line in history.path.read_text().splitlines()] == [1, 2, 3]
