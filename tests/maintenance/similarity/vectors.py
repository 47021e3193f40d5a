"""Vectors like those of texts, and the pairs among them by brute force."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maintenance.similarity import SimilarPairs
from maintenance.similarity.rows import Mask, StoredVectors

WIDTH = 384


def stored(vectors: npt.NDArray[np.floating]) -> StoredVectors:
    """Return `vectors` at unit length as they are stored; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: npt.NDArray[np.floating] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units.astype(np.float16)


def random_rows(count: int, *, width: int = WIDTH, seed: int = 0) -> StoredVectors:
    """Return rows in all directions alike."""
    return stored(np.random.default_rng(seed).normal(size=(count, width)))


def text_like(count: int, *, width: int = WIDTH, topics: int = 20, seed: int = 0) -> StoredVectors:
    """Return rows that, like those of texts, lie near few directions, with near-duplicates."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(1 + np.arange(width))
    centres = rng.normal(size=(topics, width)) * scale
    rows = centres[rng.integers(topics, size=count)] + rng.normal(size=(count, width)) * scale
    copied = rng.random(count) < 0.3
    noise = rng.normal(size=(count, width)) * scale * rng.uniform(0, 0.8, size=(count, 1))
    rows[copied] = rows[rng.integers(count, size=copied.sum())] + noise[copied]
    return stored(rows)


def at_angles(*degrees: float) -> StoredVectors:
    """Return rows of two numbers at angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float16)


def crowd(count: int, *, width: int = WIDTH, seed: int = 0) -> StoredVectors:
    """Return rows that are all alike, no two of them equal."""
    rng = np.random.default_rng(seed)
    return stored(rng.normal(size=width) + 0.05 * rng.normal(size=(count, width)))


def by_brute_force(vectors: StoredVectors, *, threshold: float, is_new: Mask | None = None) -> SimilarPairs:
    """Return what a search has to find, from all cosines in float64."""
    wide = vectors.astype(np.float64)
    squared = (wide * wide).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        cosines = wide @ wide.T / np.sqrt(np.outer(squared, squared))
        similar = np.tril(cosines > threshold, -1)
    if is_new is not None:
        similar &= is_new[:, None] | is_new
    second, first = np.nonzero(similar)
    return SimilarPairs(
        first.astype(np.int32), second.astype(np.int32), cosines[second, first].astype(np.float32), complete=True
    )


def assert_same(found: SimilarPairs, expected: SimilarPairs) -> None:
    """Hold that two results are the same to the bit."""
    assert found.complete == expected.complete
    for name in ("first", "second", "similarity"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        assert np.array_equal(one, other), name
