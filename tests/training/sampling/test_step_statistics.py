"""What is known of each step before it runs."""

import numpy as np
import pytest

from training.sampling.pool import ChannelPool
from training.sampling.schedule import Channel
from training.sampling.step_statistics import step_statistics
from training.sampling.steps import PlannedBatch, PlannedStep


def pool(*, clusters: np.ndarray | None = None) -> ChannelPool:
    return ChannelPool(
        age_days=np.array([0.0, 1.0, 10.0, 30.0]),
        reward=np.array([1.0, 0.5, 0.0, 0.2]),
        recency=np.array([1.0, 0.5, 0.1, 0.05]),
        weights=np.array([1.0, 0.25, 0.1, 0.01]),
        epoch_size=4,
        clusters=clusters,
        per_cluster=1,
        basis=None,
        basis_size=4,
    )


def step(channel: Channel, *indices: int, epoch: int = 0) -> PlannedStep:
    return PlannedStep((PlannedBatch(channel, indices, epoch),))


def test_a_steps_figures_are_those_of_its_batch() -> None:
    (figures,) = step_statistics([step("sft", 0, 1, 2, epoch=3)], {"sft": pool()})
    assert figures == pytest.approx(
        {
            "sft/epoch": 3,
            "sft/recency_mean": 1.6 / 3,
            "sft/sampling_weight_mean": 0.45,
            "sft/age_days_median": 1.0,
            "sft/reward_mean": 0.5,
        }
    )


def test_a_step_with_both_channels_has_the_figures_of_both() -> None:
    both = PlannedStep((PlannedBatch("sft", (0,), 0), PlannedBatch("preference", (3,), 1)))
    (figures,) = step_statistics([both], {"sft": pool(), "preference": pool()})
    assert (figures["sft/reward_mean"], figures["preference/reward_mean"]) == (1.0, 0.2)
    assert (figures["sft/epoch"], figures["preference/epoch"]) == (0.0, 1.0)


def test_coverage_grows_over_an_epoch_then_begins_again() -> None:
    clusters = np.array([0, 0, 1, 3])  # four clusters, of which 2 has no sample here
    steps = [step("sft", 0, 1), step("preference", 0), step("sft", 2, 3), step("sft", 0, 2, epoch=1)]
    figures = step_statistics(steps, {"sft": pool(clusters=clusters), "preference": pool()})
    assert [figures[number]["sft/cluster_coverage"] for number in (0, 2, 3)] == [0.25, 0.75, 0.5]
    assert [figures[number]["sft/clusters_in_batch"] for number in (0, 2, 3)] == [1, 2, 2]
    assert "preference/cluster_coverage" not in figures[1]
