"""The labels of a clustering come back as they were, from few bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maintenance.clustering.labels import NO_CLUSTER, Labels, no_labels, pack, pair_numbers, unpack

KEYS = st.integers(1, 2**62)


def labels(embeddings: list[int], pairs: list[int], clusters: list[int]) -> Labels:
    return Labels(np.array(embeddings, np.int64), np.array(pairs, np.int64), np.array(clusters, np.int32))


@st.composite
def some_labels(draw: st.DrawFn) -> Labels:
    embeddings = sorted(draw(st.sets(KEYS, max_size=30)))
    count = len(embeddings)
    pairs = draw(st.lists(KEYS, min_size=count, max_size=count, unique=True))
    clusters = draw(st.lists(st.integers(0, 2**16 - 1), min_size=count, max_size=count))
    return labels(embeddings, pairs, clusters)


@given(some_labels())
def test_what_was_packed_comes_back(found: Labels) -> None:
    again = unpack(pack(found))
    for name in ("embeddings", "pairs", "clusters"):
        assert getattr(again, name).tolist() == getattr(found, name).tolist()
        assert getattr(again, name).dtype == getattr(found, name).dtype


@given(some_labels(), st.sets(KEYS, max_size=10))
def test_each_key_finds_its_cluster(found: Labels, others: set[int]) -> None:
    for of_keys, keys in ((found.of_embeddings, found.embeddings), (found.of_pairs, found.pairs)):
        cluster_of = dict(zip(keys.tolist(), found.clusters.tolist(), strict=True))
        wanted = [*reversed(cluster_of), *others]
        assert of_keys(np.array(wanted, np.int64)).tolist() == [cluster_of.get(key, NO_CLUSTER) for key in wanted]


@given(some_labels(), st.dictionaries(KEYS, st.integers(0, 2**16 - 1), max_size=10))
def test_others_may_be_added(found: Labels, more: dict[int, int]) -> None:
    others = {key: cluster for key, cluster in more.items() if key not in found.embeddings}
    cluster_of = dict(zip(found.embeddings.tolist(), found.clusters.tolist(), strict=True)) | others
    both = found.with_clusters(others)
    assert both.of_embeddings(np.array(list(cluster_of), np.int64)).tolist() == list(cluster_of.values())


def test_nothing_has_no_cluster() -> None:
    assert no_labels().of_embeddings(np.array([1, 2])).tolist() == [NO_CLUSTER, NO_CLUSTER]


def test_a_pair_takes_about_a_byte() -> None:
    count = 20_000
    clusters = np.random.default_rng(0).integers(0, 100, count, dtype=np.int32)
    assert len(pack(Labels(np.arange(1, count + 1), np.arange(2, 2 * count + 2, 2), clusters))) < 1.2 * count


def test_pairs_of_both_channels_have_numbers_of_their_own() -> None:
    keys = np.arange(1, 6)
    sft, preference = pair_numbers(keys, is_preference=False), pair_numbers(keys, is_preference=True)
    assert len({*sft.tolist(), *preference.tolist()}) == 10
