"""Batches are spread over the clusters for as long as there is more than one left."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.sampling.rotation import rotate


def test_every_cluster_is_visited_before_any_is_visited_again() -> None:
    clusters = np.repeat([0, 1, 2], [9, 2, 1])
    order = rotate(np.arange(12), clusters=clusters, per_cluster=1, rng=np.random.default_rng(0))
    visited = clusters[order].tolist()
    assert sorted(visited[:3]) == [0, 1, 2]
    assert sorted(visited[3:5]) == [0, 1]
    assert visited[5:] == [0] * 7


def test_a_visit_takes_as_many_as_it_may() -> None:
    clusters = np.repeat([0, 1, 2], 4)
    order = rotate(np.arange(12), clusters=clusters, per_cluster=2, rng=np.random.default_rng(0))
    visited = clusters[order].reshape(6, 2)
    assert (visited[:, 0] == visited[:, 1]).all()
    assert sorted(visited[:3, 0].tolist()) == [0, 1, 2]
    assert visited[:3, 0].tolist() == visited[3:, 0].tolist()


def test_the_samples_of_a_cluster_keep_their_order() -> None:
    drawn = np.array([4, 0, 3, 1, 2, 5])
    order = rotate(drawn, clusters=np.array([0, 0, 0, 1, 1, 1]), per_cluster=1, rng=np.random.default_rng(0)).tolist()
    assert [number for number in order if number < 3] == [0, 1, 2]
    assert [number for number in order if number >= 3] == [4, 3, 5]


def test_the_circle_is_another_every_epoch() -> None:
    clusters, rng = np.arange(6), np.random.default_rng(0)
    orders = {tuple(rotate(np.arange(6), clusters=clusters, per_cluster=1, rng=rng).tolist()) for _ in range(20)}
    assert len(orders) > 10


@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=80),
    batch_size=st.integers(1, 12),
    per_cluster=st.integers(1, 2),
    seed=st.integers(0, 2**32),
)
def test_a_batch_takes_more_of_a_cluster_only_once_it_has_all_that_are_left(
    labels: list[int], batch_size: int, per_cluster: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(labels))[: (len(labels) + 1) // 2]
    order = rotate(drawn, clusters=np.array(labels), per_cluster=per_cluster, rng=rng)
    assert sorted(order.tolist()) == sorted(drawn.tolist())
    visited = np.array(labels)[order]
    starts = range(0, len(order), batch_size)
    crowded = [at for at in starts if np.bincount(visited[at : at + batch_size]).max() > per_cluster]
    missed = [set(visited[at + batch_size :].tolist()) - set(visited[at : at + batch_size].tolist()) for at in crowded]
    assert missed == [set()] * len(crowded)
