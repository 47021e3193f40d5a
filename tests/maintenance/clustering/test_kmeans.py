"""Centroids come from a sample, and every vector goes to the nearest one."""

from __future__ import annotations

import numpy as np
import pytest

from maintenance.clustering.kmeans import SAMPLE_PER_CLUSTER, fit_centroids, from_stored, nearest, sample, stored
from memory.embeddings import Vectors, unit_rows
from tests.maintenance.clustering.stored import vectors_of


def topics(count: int, each: int) -> Vectors:
    return np.concatenate([vectors_of(topic, each) for topic in range(count)])


def test_each_topic_gets_a_centroid_in_its_middle() -> None:
    vectors = topics(5, 40)
    centroids = fit_centroids(vectors, k=5)
    labels = nearest(vectors, centroids).reshape(5, 40)
    assert (labels == labels[:, :1]).all()
    for topic in range(5):
        middle = vectors[topic * 40 : (topic + 1) * 40].mean(axis=0)
        assert centroids[labels[topic, 0]] == pytest.approx(middle, abs=1e-3)


def test_equal_rows_make_no_more_centroids_than_there_are_of_them() -> None:
    assert len(fit_centroids(np.tile(topics(2, 1), (10, 1)), k=20)) == 2
    assert len(fit_centroids(topics(1, 1), k=20)) == 1


def test_the_same_vectors_give_the_same_centroids() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32))
    assert fit_centroids(vectors, k=20).tolist() == fit_centroids(vectors, k=20).tolist()


def test_nearest_is_by_distance_whatever_the_length_of_a_centroid() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    centroids = rng.normal(size=(7, 8)).astype(np.float32) * rng.uniform(0.1, 3, size=(7, 1)).astype(np.float32)
    distances = np.square(vectors[:, None] - centroids).sum(axis=2)
    assert nearest(vectors, centroids).tolist() == distances.argmin(axis=1).tolist()


def test_stored_centroids_are_those_that_were_computed() -> None:
    centroids = fit_centroids(topics(3, 20), k=3)
    again = from_stored(stored(centroids), k=3)
    assert again.dtype == np.float32
    assert again.tolist() == centroids.tolist()


def test_a_sample_is_a_bounded_choice_and_always_the_same() -> None:
    size = 10 * SAMPLE_PER_CLUSTER
    found = sample(size, k=2)
    assert len(set(found.tolist())) == 2 * SAMPLE_PER_CLUSTER
    assert (np.diff(found) > 0).all()
    assert found[-1] > size * 0.9
    assert found.tolist() == sample(size, k=2).tolist()
    assert sample(50, k=2).tolist() == list(range(50))
