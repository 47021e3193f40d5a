"""The course of a run follows from config, pools, time and seed alone."""

import numpy as np
import pytest

from tests.training.records import NOW, preference_record, sft_record
from training.config import TrainingConfig
from training.sampling.plan import RunPlan, plan_run

SFT = [sft_record(number, age_days=number) for number in range(20)]
PREFERENCE = [preference_record(number) for number in range(12)]


def plan(**changes: object) -> RunPlan:
    config = TrainingConfig.model_validate(
        {"model_name_or_path": "any", "max_steps": 50, "recency_floor": 1.0, **changes}
    )
    return plan_run(config, sft=SFT, preference=PREFERENCE, now=NOW)


def test_the_same_seed_gives_the_same_course() -> None:
    assert plan(seed=1).steps == plan(seed=1).steps


def test_another_seed_gives_another_course() -> None:
    assert plan(seed=1).steps != plan(seed=2).steps


def test_steps_keep_the_channels_shares_and_sizes() -> None:
    steps = plan(sft_batch_size=5, preference_batch_size=4).steps
    assert sum(step.channel == "sft" for step in steps) == 20
    assert {len(step.indices) for step in steps if step.channel == "sft"} == {5}
    assert {len(step.indices) for step in steps if step.channel == "preference"} == {4}


def test_no_pair_comes_twice_in_an_epoch_of_its_channel() -> None:
    seen: dict[tuple[str, int], list[int]] = {}
    for step in plan().steps:
        seen.setdefault((step.channel, step.epoch), []).extend(step.indices)
    assert len(seen) > 4
    assert all(len(indices) == len(set(indices)) for indices in seen.values())


def test_the_newer_pair_is_drawn_more_often() -> None:
    steps = plan(
        recency_floor=0.05, recency_decay_seconds={"sft": {"fast": 86400, "slow": 432000}}, max_steps=400
    ).steps
    drawn = np.bincount(np.concatenate([step.indices for step in steps if step.channel == "sft"]), minlength=20)
    assert drawn[0] > 2 * drawn[19] > 0


def test_a_change_in_one_pool_leaves_the_others_course_alone() -> None:
    config = TrainingConfig(model_name_or_path="any", max_steps=20, recency_floor=1.0)
    shorter = plan_run(config, sft=SFT[:9], preference=PREFERENCE, now=NOW)
    longer = plan_run(config, sft=SFT, preference=PREFERENCE, now=NOW)

    def course(run: RunPlan) -> list[tuple[int, ...]]:
        return [step.indices for step in run.steps if step.channel == "preference"]

    assert course(shorter) == course(longer)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 8), (2, 15)])
def test_epochs_last_until_both_channels_have_passed_over_their_pool(epochs: int, steps: int) -> None:
    """20 memory pairs in batches of 8 are 3 steps a pass, at 0.4 of the steps: ceil(7.5) and ceil(15)."""
    assert len(plan(max_steps=None, num_train_epochs=epochs).steps) == steps
