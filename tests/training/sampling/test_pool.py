"""A pool is drawn as its config says."""

from collections.abc import Sequence

import numpy as np
import pytest

from memory.embeddings import Vectors
from tests.training.records import NOW, preference_record, sft_record
from training.config import TrainingConfig
from training.datasets import Record
from training.sampling.pool import ChannelPool, channel_pool
from training.sampling.schedule import Channel


def pool(
    records: Sequence[Record], *, channel: Channel = "sft", vectors: Vectors | None = None, **changes: object
) -> ChannelPool:
    config = TrainingConfig.model_validate({"model_name_or_path": "any", "recency_floor": 0.0, **changes})
    return channel_pool(records, channel=channel, config=config, vectors=vectors, now=NOW, seed=0)


def pairs_of_topics(count: int, *, each: int) -> Vectors:
    """Return unit rows of `count` topics, all rows of a topic the same but for a trace."""
    rows = np.repeat(np.eye(32, dtype=np.float32)[:count], each, axis=0)
    rows[:, -1] = np.linspace(0, 1e-3, count * each)
    return rows


def test_the_weight_is_recency_times_the_records_own() -> None:
    """Two hours are one slow decay time."""
    drawn = pool([sft_record(0, weight=0.5), sft_record(1, weight=0.8, age_days=2 / 24)])
    assert drawn.recency == pytest.approx([1, np.exp(-1)])
    assert drawn.weights == pytest.approx([0.5, 0.8 * np.exp(-1)])
    assert drawn.age_days == pytest.approx([0, 2 / 24])


def test_each_channel_has_its_own_decay() -> None:
    decays = {"sft": {"slow": 86_400}, "preference": {"slow": 43_200}}
    sft = pool([sft_record(0), sft_record(1, age_days=1)], recency_decay_seconds=decays)
    preference = pool(
        [preference_record(0), preference_record(1, age_days=1)], channel="preference", recency_decay_seconds=decays
    )
    assert (sft.weights[1], preference.weights[1]) == pytest.approx((np.exp(-1), np.exp(-2)))


def test_every_topic_has_its_part_in_every_epoch() -> None:
    """Of 20 topics of 10 pairs at half the weight of the one pair that sets the measure, an epoch draws 5 each."""
    records = [sft_record(number, weight=1.0 if number == 0 else 0.5) for number in range(200)]
    drawn = pool(records, vectors=pairs_of_topics(20, each=10))
    rng = np.random.default_rng(0)
    parts = [np.bincount(drawn.draw_epoch(rng) // 10, minlength=20) for _ in range(50)]
    assert np.abs(np.array(parts)[:, 1:] - 5).max() <= 1


@pytest.mark.parametrize("per_cluster", [1, 2])
def test_a_visit_takes_one_or_two_pairs_of_a_topic(per_cluster: int) -> None:
    records = [sft_record(number) for number in range(200)]
    drawn = pool(records, vectors=pairs_of_topics(20, each=10), diversity_per_cluster=per_cluster)
    visited = drawn.draw_epoch(np.random.default_rng(0)).reshape(-1, per_cluster) // 10
    assert (visited == visited[:, :1]).all()
    assert sorted(visited[:20, 0].tolist()) == list(range(20))


@pytest.mark.parametrize(("asked", "count"), [("auto", 20), (25, 25)])
def test_there_are_as_many_clusters_as_the_config_asks_for(asked: int | str, count: int) -> None:
    vectors = np.eye(32, dtype=np.float32)[np.arange(60) % 30]
    clusters = pool([sft_record(number) for number in range(60)], vectors=vectors, diversity_k=asked).clusters
    assert clusters is not None
    assert len(set(clusters.tolist())) == count
