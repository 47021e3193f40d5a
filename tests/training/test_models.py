"""Runs come to one end, and the ledger holds whole lines."""

from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from memory.models import PreferencePair, SftPair
from tests.memory.rows import preference_pair, sft_pair
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


def new_run(**fields: Any) -> TrainingRun:
    return TrainingRun.objects.create(**{"config_path": "config/training/lora_demo.yaml", "config": {}, **fields})


def new_use(**fields: Any) -> PairUse:
    values = {"step": 1, "epoch": 0, "weight": 0.4, "content_hash": "0" * 64, **fields}
    return PairUse.objects.create(run=new_run(), **values)


class TestTrainingRun:
    def test_a_new_run_is_running(self) -> None:
        run = new_run()
        assert (run.status, run.finished_at) == ("running", None)
        assert not TrainingRun.objects.successful().exists()

    def test_success_records_what_came_of_it(self) -> None:
        run, before = new_run(), timezone.now()
        run.succeed(steps=12, metrics={"sft/loss": 0.5}, evaluation={"recall": 0.9}, adapter="artifacts/lora/demo")
        run = TrainingRun.objects.get()
        assert (run.status, run.steps, run.adapter) == ("succeeded", 12, "artifacts/lora/demo")
        assert (run.metrics, run.evaluation) == ({"sft/loss": 0.5}, {"recall": 0.9})
        assert run.finished_at is not None
        assert before <= run.finished_at <= timezone.now()
        assert list(TrainingRun.objects.successful()) == [run]

    @pytest.mark.parametrize(("end", "status"), [("fail", "failed"), ("interrupt", "interrupted")])
    def test_a_bad_end_records_class_message_and_traceback(self, end: str, status: str) -> None:
        run = new_run()
        try:
            raise ValueError("the loss is nan")
        except ValueError as error:
            getattr(run, end)(error)
        run = TrainingRun.objects.get()
        assert (run.status, run.exception_class, run.error) == (status, "builtins.ValueError", "the loss is nan")
        assert run.traceback.startswith("Traceback (most recent call last):\n")
        assert run.traceback.endswith("ValueError: the loss is nan\n")
        assert run.finished_at is not None
        assert not TrainingRun.objects.successful().exists()

    def test_a_run_that_goes_on_has_not_ended(self) -> None:
        run = new_run()
        run.interrupt(KeyboardInterrupt())
        run.resume()
        run = TrainingRun.objects.get()
        assert (run.status, run.finished_at) == ("running", None)
        assert (run.error, run.exception_class, run.traceback) == ("", "", "")

    def test_a_run_that_is_given_up_keeps_what_interrupted_it(self) -> None:
        run = new_run()
        run.advance(3)
        run.interrupt(KeyboardInterrupt())
        ended = run.finished_at
        run.discard()
        run = TrainingRun.objects.get()
        assert run.status == "failed"
        assert run.error == "the process was interrupted at step 3; discarded when the next run began"
        assert (run.exception_class, run.finished_at) == ("builtins.KeyboardInterrupt", ended)

    def test_the_newest_run_of_a_model_on_a_machine_says_how_fast_it_was(self) -> None:
        config = {"model_name_or_path": "tiny"}
        runs = [new_run(config=config) for _ in range(4)]
        for run, host, characters in zip(runs, ("here", "here", "there", "here"), (9, 9, 9, 0), strict=True):
            run.succeed(steps=1, metrics={"host": host, "characters": characters}, evaluation={}, adapter="any")
        assert list(TrainingRun.objects.with_speed(base_model="tiny", host="here")) == [runs[1], runs[0]]
        assert not TrainingRun.objects.with_speed(base_model="other", host="here").exists()

    def test_an_end_leaves_alone_what_others_wrote_meanwhile(self) -> None:
        run = new_run()
        TrainingRun.objects.update(config={"seed": 7})
        run.fail(ValueError("no"))
        assert TrainingRun.objects.get().config == {"seed": 7}

    def test_a_run_is_called_by_number_and_status(self) -> None:
        run = new_run()
        assert str(run) == f"run {run.pk} (running)"


class TestPairUse:
    def test_a_line_names_its_run_and_step(self) -> None:
        use = new_use(sft_pair=sft_pair(), step=3)
        assert str(use) == f"run {use.run_id} step 3"

    def test_the_ledger_is_reached_from_pairs_of_both_channels(self) -> None:
        of_memory, of_reward = new_use(sft_pair=sft_pair()), new_use(preference_pair=preference_pair())
        assert list(SftPair.objects.get().uses.all()) == [of_memory]
        assert list(PreferencePair.objects.get().uses.all()) == [of_reward]


CHECKS: dict[str, dict[str, Any]] = {
    "pairuse_of_exactly_one_pair": {"sft_pair": None},
    "pairuse_step_from_one": {"step": 0},
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_line_that_breaks_a_check_is_refused_by_name(name: str) -> None:
    new_use(sft_pair=sft_pair())
    with pytest.raises(IntegrityError, match=rf"\b{name}\b"), transaction.atomic():
        PairUse.objects.update(**CHECKS[name])


def test_a_line_of_two_pairs_is_refused() -> None:
    with pytest.raises(IntegrityError, match="pairuse_of_exactly_one_pair"), transaction.atomic():
        new_use(sft_pair=sft_pair(), preference_pair=preference_pair())


def test_a_pair_is_once_in_a_step() -> None:
    of_memory, of_reward = new_use(sft_pair=sft_pair()), new_use(preference_pair=preference_pair())
    for use, name in (
        (of_memory, "pairuse_memory_pair_once_a_step"),
        (of_reward, "pairuse_preference_pair_once_a_step"),
    ):
        use.pk = None
        # PostgreSQL names the constraint, SQLite its columns.
        with pytest.raises(IntegrityError, match=rf"{name}|training_pairuse\.step"), transaction.atomic():
            use.save(force_insert=True)


def test_a_run_of_unknown_status_is_refused() -> None:
    new_run()
    with pytest.raises(IntegrityError, match="trainingrun_status_known"), transaction.atomic():
        TrainingRun.objects.update(status="paused")


def test_every_named_constraint_of_training_is_violated_here() -> None:
    models = apps.get_app_config("training").get_models()
    names = {constraint.name for model in models for constraint in model._meta.constraints}
    assert names == {
        *CHECKS,
        "pairuse_memory_pair_once_a_step",
        "pairuse_preference_pair_once_a_step",
        "trainingrun_status_known",
    }
