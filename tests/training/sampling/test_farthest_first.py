"""A basis spreads over the pool, the farthest sample first."""

import numpy as np
import pytest

from training.sampling import farthest_first as module
from training.sampling.farthest_first import basis_first, farthest_first


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_each_choice_is_the_farthest_from_all_before_it() -> None:
    """From 0 degrees 170 is farthest, then 80 (80 and 90 away), then 40."""
    vectors = at_angles(0, 10, 40, 80, 170)
    assert farthest_first(vectors, count=4, start=0).tolist() == [0, 4, 3, 2]


def test_no_sample_is_chosen_twice_among_equal_ones() -> None:
    vectors = np.zeros((4, 2), dtype=np.float32)
    assert sorted(farthest_first(vectors, count=4, start=2).tolist()) == [0, 1, 2, 3]


def test_the_epoch_begins_with_the_basis_then_keeps_its_order() -> None:
    vectors = at_angles(0, 1, 2, 90, 180, 179)
    weights = np.array([0.1, 0.1, 0.9, 0.5, 0.5, 1.0])
    drawn = np.array([0, 1, 3, 2, 4])
    # 5 is the heaviest of the pool but was not drawn; 2 is the heaviest drawn, and 180 degrees lie farthest from it.
    assert basis_first(drawn, vectors=vectors, weights=weights, count=3).tolist() == [2, 4, 3, 0, 1]


def test_an_epoch_smaller_than_the_basis_is_ordered_whole() -> None:
    order = basis_first(np.array([2, 0]), vectors=at_angles(0, 45, 90), weights=np.ones(3), count=20)
    assert order.tolist() == [2, 0]


def test_a_very_large_epoch_takes_its_basis_from_the_first_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    order = basis_first(np.array([0, 1, 2]), vectors=at_angles(0, 10, 180), weights=np.ones(3), count=2)
    assert order.tolist() == [0, 1, 2]
