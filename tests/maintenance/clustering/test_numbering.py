"""Cluster 7 stays cluster 7, as far as it can."""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from maintenance.clustering.labels import NO_CLUSTER, Clusters
from maintenance.clustering.numbering import drift, keep_numbers


def kept(labels: npt.ArrayLike, before: npt.ArrayLike, *, gone: Collection[int] = ()) -> Clusters:
    """Return the numbers of clusters; `gone` are those of clusters of which no pair is left."""
    had = np.array(before, np.int32)
    return keep_numbers(np.array(labels, np.int32), had, used={*had.tolist(), *gone} - {NO_CLUSTER})


def numbered(labels: list[int], before: list[int], gone: Collection[int] = ()) -> list[int]:
    found: list[int] = kept(labels, before, gone=gone).tolist()
    return found


def test_without_a_clustering_before_they_are_numbered_from_0() -> None:
    assert numbered([0, 1, 2, 1], [NO_CLUSTER] * 4) == [0, 1, 2]


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=30))
def test_clusters_that_are_permuted_keep_their_numbers(order: list[int], more: list[int]) -> None:
    before = [*range(6), *more]
    labels = [order[number] for number in before]
    numbers = kept(labels, before)
    assert numbers[labels].tolist() == before
    assert drift(numbers[labels], np.array(before, np.int32)) == 0.0


def test_the_larger_part_of_a_divided_cluster_keeps_its_number() -> None:
    assert numbered([0, 1, 1, 1, 2], [7, 7, 7, 7, 3]) == [0, 7, 3]


def test_of_two_clusters_that_became_one_the_larger_gives_the_number() -> None:
    assert numbered([0, 0, 0, 1], [4, 4, 9, 2]) == [4, 2]


def test_a_cluster_without_a_match_gets_no_number_that_another_had() -> None:
    """Number 0 is gone, and nobody should take the new cluster for it."""
    assert numbered([0, 0, 0, 1], [0, 1, 1, NO_CLUSTER]) == [1, 2]
    # So it is where not even a pair of the old one is left.
    assert numbered([0, 0, 1], [1, 1, NO_CLUSTER], gone={0, 2}) == [1, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([NO_CLUSTER, 0, 1, 5, 9])), min_size=1, max_size=40))
def test_no_other_numbers_leave_more_pairs_where_they_were(pairs: list[tuple[int, int]]) -> None:
    places, numbers_before = zip(*pairs, strict=True)
    labels = np.unique(places, return_inverse=True)[1].astype(np.int32)
    before = np.array(numbers_before, np.int32)
    numbers = kept(labels, before)
    assert len(set(numbers.tolist())) == len(numbers) == labels.max() + 1
    assert numbers.min() >= 0
    # Numbers from 10 on stand for clusters without a match.
    others = permutations([0, 1, 5, 9, 10, 11, 12, 13], len(numbers))
    best = max(int((np.array(each)[labels] == before).sum()) for each in others)
    assert int((numbers[labels] == before).sum()) == best


def test_drift_is_the_share_of_pairs_in_both_that_moved() -> None:
    now, then = np.array([1, 2, 3, 4, 5], np.int32), np.array([1, 2, 4, 4, NO_CLUSTER], np.int32)
    assert drift(now, then) == 0.25
    assert drift(now, np.full(5, NO_CLUSTER, np.int32)) is None
