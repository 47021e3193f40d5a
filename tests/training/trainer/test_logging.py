"""What a run logs beside its own metrics."""

from pathlib import Path

import pytest

from tests.training.trainer.runs import config, run

TAGS = {
    "train/sft/loss",
    "train/sft/recency_mean",
    "train/preference/loss",
    "train/preference/rewards/margins",
    "train/preference/rewards/accuracies",
    "train/learning_rate",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_step_of_both_channels(tiny_model_path: str, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = run(config(tiny_model_path, max_steps=5, report_to="tensorboard"), tmp_path)
    (folder,) = {path.parent for path in (tmp_path / "work").rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= TAGS
    logged = {event.step: event.value for event in events.Scalars("train/preference/loss")}
    expected = {step.step: step.loss("preference") for step in trained.steps if "preference" in step.trained}
    assert logged == pytest.approx(expected, abs=1e-5)
