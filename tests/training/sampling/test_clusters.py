"""Topics are found again, the same ones each time."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.embeddings import unit_rows
from training.sampling import clusters as module
from training.sampling.clusters import choose_k, cluster


def topics(count: int, *, each: int) -> np.ndarray:
    """Return unit rows of `count` topics, each in a direction of its own."""
    noise = np.random.default_rng(0).normal(size=(count * each, 32), scale=0.02)
    return unit_rows((np.repeat(np.eye(32)[:count], each, axis=0) + noise).astype(np.float32))


@pytest.mark.parametrize(("size", "k"), [(5, 5), (100, 20), (400, 20), (2500, 50), (10_000, 100), (90_000, 100)])
def test_auto_is_the_root_of_the_size_within_its_range(size: int, k: int) -> None:
    assert choose_k(size, "auto") == k


@pytest.mark.parametrize(("size", "k"), [(1000, 30), (12, 12)])
def test_what_is_asked_for_is_taken_as_far_as_the_pool_reaches(size: int, k: int) -> None:
    assert choose_k(size, 30) == k


def test_topics_come_out_as_clusters() -> None:
    labels = cluster(topics(6, each=20), k=6, seed=0).reshape(6, 20)
    assert (labels == labels[:, :1]).all()
    assert sorted(labels[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_topic_of_one_pair_among_hundreds_keeps_its_cluster() -> None:
    vectors = np.concatenate([np.repeat(topics(1, each=1), 300, axis=0), topics(5, each=1)[1:]])
    assert len(set(cluster(vectors, k=5, seed=0).tolist())) == 5


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors = unit_rows(np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32))
    assert cluster(vectors, k=20, seed=7).tolist() == cluster(vectors, k=20, seed=7).tolist()
    assert cluster(vectors, k=20, seed=7).tolist() != cluster(vectors, k=20, seed=8).tolist()


@pytest.mark.parametrize(("distinct", "clusters"), [(1, 1), (3, 3)])
def test_equal_rows_make_no_more_clusters_than_there_are_of_them(distinct: int, clusters: int) -> None:
    labels = cluster(np.tile(topics(distinct, each=1), (10, 1)), k=20, seed=0)
    assert set(labels.tolist()) == set(range(clusters))


def test_a_centre_that_ends_without_rows_leaves_no_gap_in_the_numbers() -> None:
    """Of five directions two are 0.003 degrees apart, so that one of their two centres loses its rows."""
    rng = np.random.default_rng(138)
    directions = rng.normal(size=(5, 2))
    labels = cluster(unit_rows(directions[rng.integers(0, 5, 1200)].astype(np.float32)), k=5, seed=138)
    assert set(labels.tolist()) == {0, 1, 2, 3}


# The first example waits for scikit-learn to be imported.
@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 25), st.integers(0, 2**32 - 1))
def test_clusters_are_numbered_without_gaps(size: int, k: int, seed: int) -> None:
    vectors = unit_rows(np.random.default_rng(seed).normal(size=(size, 4)).astype(np.float32))
    labels = cluster(vectors, k=choose_k(size, k), seed=seed)
    assert set(labels.tolist()) == set(range(labels.max() + 1))
    assert labels.max() < k


def test_faiss_finds_the_same_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    by_faiss = cluster(topics(6, each=20), k=6, seed=0).reshape(6, 20)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    by_mini_batches = cluster(topics(6, each=20), k=6, seed=0).reshape(6, 20)
    assert (by_faiss == by_faiss[:, :1]).all()
    assert len(set(by_faiss[:, 0])) == len(set(by_mini_batches[:, 0])) == 6


def test_the_sampler_is_imported_without_scikit_learn() -> None:
    code = "import sys, training.sampling.plan; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
