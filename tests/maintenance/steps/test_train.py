"""A night trains where its config says so and enough is new; the trainer itself is tested elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from maintenance.models import MaintenanceStep
from maintenance.night import Night, StepOutcome
from maintenance.steps import train as step
from maintenance.steps.train import train
from maintenance.trained_runs import uncompared_runs
from memory.models import SftPair
from tests.maintenance import nights, training_runs
from tests.training import runs
from tests.training.rows import preference_pairs, sft_pairs
from training.artifacts import activate
from training.config import ConfigError
from training.lock import LockedError, folder_lock
from training.models import TrainingRun
from training.selection import NotEnoughPairs
from training.trainer.stopping import Interrupted
from training.unfinished import WithdrawnError

pytestmark = pytest.mark.django_db

ON = {"enabled": True, "config": "train.yaml", "min_unused_sft_pairs": 6, "min_unused_preference_pairs": 4}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project with a training config, its artifacts beside it."""
    return written(tmp_path)


def written(folder: Path, **changes: Any) -> Path:
    content = {
        "model_name_or_path": "any",
        "output_dir": runs.FOLDER,
        "init_adapter": "continue",
        "min_sft_pairs": 4,
        "min_preference_pairs": 4,
        "evaluation": {"validation_share": 0.0},
        **changes,
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(content))
    return folder


def root(place: Path) -> Path:
    return place / "artifacts" / runs.FOLDER


def night(place: Path, *, said: list[str] | None = None, dry_run: bool = False, **sections: Any) -> Night:
    found = nights.night("train", dry_run=dry_run, train={**ON, **sections.pop("train", {})}, **sections)
    lines = said if said is not None else []
    return replace(found, project=place, artifacts=place / "artifacts", say=lines.append)


class Trainer:
    """In the place of `start` and `resume`: ends as it is told, and says what it was given."""

    def __init__(self, place: Path, end: BaseException | None = None) -> None:
        self.place, self.end = place, end
        self.calls: list[dict[str, Any]] = []
        self.resumed = False
        self.refusal: WithdrawnError | None = None
        self.noted: list[dict[str, Any]] = []

    def start(self, config: Any, **given: Any) -> TrainingRun:
        self.calls.append({"config": config, **given})
        if isinstance(self.end, NotEnoughPairs):
            raise self.end
        run = training_runs.run(root(self.place), night=1, status=TrainingRun.Status.RUNNING, folder=False)
        return self._go(run, given["on_step"])

    def resume(self, config: Any, **given: Any) -> TrainingRun:
        self.resumed = True
        self.calls.append({"config": config, **given})
        if self.refusal is not None:
            raise self.refusal
        return self._go(TrainingRun.objects.unfinished().get(), given["on_step"])

    def _go(self, run: TrainingRun, on_step: Callable[[Any], None]) -> TrainingRun:
        if not (root(self.place) / ".work").exists():
            training_runs.working_folder(root(self.place), run)
        on_step(None)
        self.noted.append(MaintenanceStep.objects.latest("pk").details)
        if self.end is not None:
            raise self.end
        run.succeed(
            steps=10,
            metrics=dict(training_runs.METRICS),
            evaluation={**training_runs.GOOD, "did_not_stick": {"sft": [1]}},
            adapter=str(root(self.place) / run.folder_name),
        )
        return run


@pytest.fixture
def trainer(place: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    found = Trainer(place)
    monkeypatch.setattr(step, "start", found.start)
    monkeypatch.setattr(step, "resume", found.resume)
    return found


def enough() -> None:
    sft_pairs(6)
    preference_pairs(4)


def test_a_night_that_is_not_told_to_train_does_not_even_read_the_training_config(tmp_path: Path) -> None:
    outcome = train(night(tmp_path, train={"enabled": False, "config": "none.yaml"}))
    assert outcome == StepOutcome(skipped="training is off in the config (train.enabled)")


def test_a_run_is_recorded_with_its_figures_and_the_adapter_before_it(place: Path, trainer: Trainer) -> None:
    before = training_runs.run(root(place), active=True)
    enough()
    outcome = train(night(place, evaluate={"keep_worse": True}))
    run = TrainingRun.objects.latest("pk")
    assert outcome.counts == {"runs": 1, "sft_unused": 6, "preference_unused": 4}
    assert not outcome.skipped
    assert json.loads(json.dumps(outcome.details)) == {
        "config": str(place / "train.yaml"),
        "root": str(root(place)),
        "previous_adapter": before.adapter,
        "run": run.pk,
        "resumed": False,
        "adapter": run.adapter,
        "steps": 10,
        "sft": training_runs.METRICS["sft"],
        "preference": training_runs.METRICS["preference"],
        "evaluation": training_runs.GOOD,
        "tokens_per_second": 100.0,
        "training_seconds": 12.5,
        "notes": [],
    }
    (call,) = trainer.calls
    assert call["config_path"] == place / "train.yaml"
    assert (call["places"].project, call["places"].artifacts) == (place, place / "artifacts")


def test_what_is_trained_is_known_from_the_first_step_on(place: Path, trainer: Trainer) -> None:
    """A night that is killed later finds it there."""
    enough()
    train(night(place))
    (noted,) = trainer.noted
    assert noted == {
        "config": str(place / "train.yaml"),
        "root": str(root(place)),
        "previous_adapter": None,
        "run": TrainingRun.objects.get().pk,
    }
    assert [(each.run.pk, each.previous) for each in uncompared_runs(using="default")] == [(noted["run"], None)]


@pytest.mark.parametrize(
    ("sft", "preference", "reason"),
    [
        (5, 4, "5 unused memory pairs to train, needed are 6 (train.min_unused_sft_pairs)"),
        (6, 3, "3 unused preference pairs to train, needed are 4 (train.min_unused_preference_pairs)"),
    ],
)
def test_too_few_unused_pairs_are_no_night_for_training(
    place: Path, trainer: Trainer, sft: int, preference: int, reason: str
) -> None:
    sft_pairs(sft)
    preference_pairs(preference)
    used = sft_pairs(3, instruction="an older question")
    SftPair.objects.mark_used([pair.pk for pair in used], training_epoch=0)
    outcome = train(night(place))
    assert outcome.skipped == reason
    assert outcome.counts == {"runs": 0, "sft_unused": sft, "preference_unused": preference}
    assert trainer.calls == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_training_config_may_ask_for_more(tmp_path: Path, dry_run: bool) -> None:
    """Its own refusal is known to a dry run, too."""
    written(tmp_path, min_sft_pairs=7)
    enough()
    outcome = train(night(tmp_path, dry_run=dry_run))
    assert outcome.skipped.startswith(
        "the memory channel has 6 pairs to train (0 more are held out), allowed 7 or more"
    )
    assert outcome.counts == {"runs": 0, "sft_unused": 6, "preference_unused": 4}


def test_pairs_that_went_while_it_looked_skip_the_step(place: Path, trainer: Trainer) -> None:
    enough()
    trainer.end = NotEnoughPairs("too few")
    outcome = train(night(place))
    assert (outcome.skipped, outcome.counts["runs"]) == ("too few", 0)


def test_pairs_that_the_chat_template_refuses_skip_the_step_with_the_reason(
    tmp_path: Path, tiny_model_path: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_path, model)
    (model / "chat_template.jinja").write_text("{{ raise_exception('no such roles') }}")
    written(tmp_path, model_name_or_path=str(model))
    enough()
    outcome = train(night(tmp_path))
    assert outcome.skipped.endswith("refuses all 6 memory pairs: no such roles")
    assert outcome.counts == {"runs": 0, "sft_unused": 6, "preference_unused": 4}
    assert not TrainingRun.objects.exists()


def test_a_dry_run_counts_what_the_real_one_does_and_trains_nothing(place: Path, trainer: Trainer) -> None:
    enough()
    rehearsed = train(night(place, dry_run=True))
    assert trainer.calls == []
    assert not (place / "artifacts").exists()
    assert rehearsed.counts == train(night(place)).counts
    assert rehearsed.details["root"] == str(root(place))


@pytest.mark.parametrize("status", [TrainingRun.Status.RUNNING, TrainingRun.Status.INTERRUPTED])
def test_a_run_that_died_goes_on_however_few_pairs_are_left(
    place: Path, trainer: Trainer, status: TrainingRun.Status
) -> None:
    before = training_runs.run(root(place), active=True)
    dead = training_runs.run(root(place), night=1, status=status, folder=False)
    training_runs.working_folder(root(place), dead)
    assert train(night(place, dry_run=True)).counts == {"runs": 1, "sft_unused": 0, "preference_unused": 0}
    outcome = train(night(place))
    assert trainer.resumed
    assert outcome.counts["runs"] == 1
    assert (outcome.details["run"], outcome.details["resumed"]) == (dead.pk, True)
    assert outcome.details["previous_adapter"] == before.adapter


def test_a_run_whose_pairs_were_withdrawn_makes_room_for_a_new_one(place: Path, trainer: Trainer) -> None:
    dead = training_runs.run(root(place), status=TrainingRun.Status.INTERRUPTED, folder=False)
    training_runs.working_folder(root(place), dead)
    enough()
    trainer.refusal = WithdrawnError("run 1: 2 pairs that it has still to train were withdrawn")
    said: list[str] = []
    outcome = train(night(place, said=said))
    assert said[-1] == str(trainer.refusal)
    assert outcome.details["run"] != dead.pk
    assert outcome.details["resumed"] is False


@pytest.mark.parametrize("status", [TrainingRun.Status.FAILED, TrainingRun.Status.SUCCEEDED])
def test_a_run_that_has_ended_is_not_resumed(place: Path, trainer: Trainer, status: TrainingRun.Status) -> None:
    training_runs.working_folder(root(place), training_runs.run(root(place), status=status))
    assert train(night(place)).skipped
    enough()
    train(night(place))
    assert not trainer.resumed


def test_a_run_that_died_between_its_folder_and_its_row_remembers_what_was_active(
    place: Path, trainer: Trainer
) -> None:
    before = training_runs.run(root(place), active=True)
    dead = training_runs.run(root(place), night=1, status=TrainingRun.Status.RUNNING)
    activate(root(place) / dead.folder_name)
    training_runs.working_folder(root(place), dead)
    step_before = MaintenanceStep.objects.get(run=night(place).run)
    step_before.details = {"run": dead.pk, "previous_adapter": before.adapter}
    step_before.save()
    assert train(night(place)).details["previous_adapter"] == before.adapter


def test_a_person_who_stops_it_stops_the_night(place: Path, trainer: Trainer) -> None:
    enough()
    trainer.end = Interrupted(5, None)
    with pytest.raises(KeyboardInterrupt, match=r"^stopped after step 5; the next night goes on from there$"):
        train(night(place))


def test_another_trainer_in_the_folder_is_named(place: Path) -> None:
    enough()
    with folder_lock(root(place)), pytest.raises(LockedError, match=r"trains here; allowed is one trainer a folder$"):
        train(night(place))


def test_a_config_that_cannot_be_used_fails_the_step_with_its_own_words(tmp_path: Path) -> None:
    written(tmp_path, sft_batch_size=0)
    with pytest.raises(ConfigError, match=r"train\.yaml: 1 problem\n  sft_batch_size: got 0"):
        train(night(tmp_path))
    with pytest.raises(ConfigError, match=r"none\.yaml: 1 problem\n  cannot be read"):
        train(night(tmp_path, train={"config": "none.yaml"}))


def test_what_cannot_be_measured_is_said_before_it_trains(place: Path, trainer: Trainer) -> None:
    enough()
    said: list[str] = []
    outcome = train(night(place, said=said))
    assert (
        said
        == outcome.details["notes"]
        == [
            f"{place}/train.yaml: evaluation.general_text_path is null, evaluation.validation_share is 0: what "
            "is not measured fails its check, so that evaluate will put the adapter back"
        ]
    )
    said.clear()
    enough()
    train(night(place, said=said, evaluate={"keep_worse": True}))
    assert said == []


def test_a_tiny_model_is_really_trained(tmp_path: Path, tiny_model_path: str) -> None:
    sft_pairs(8)
    preference_pairs(8)
    written(tmp_path, **runs.config(tiny_model_path, max_steps=2).model_dump(mode="json"))
    outcome = train(night(tmp_path))
    run = TrainingRun.objects.latest("pk")
    assert (outcome.details["run"], outcome.details["adapter"]) == (run.pk, run.adapter)
    assert (root(tmp_path) / "active").resolve() == Path(run.adapter)
    assert 0 < SftPair.objects.used().count() <= 8
    (waiting,) = uncompared_runs(using="default")
    assert (waiting.run.pk, waiting.previous) == (run.pk, None)
