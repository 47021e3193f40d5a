"""An epoch draws each sample once at most, the heavier ones more often over many epochs."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.sampling.epochs import batches, draw_epoch, effective_size


def test_equal_weights_draw_the_whole_pool() -> None:
    drawn = draw_epoch(np.full(100, 0.3), rng=np.random.default_rng(0))
    assert sorted(drawn.tolist()) == list(range(100))


def test_one_heavy_sample_shrinks_the_epoch() -> None:
    assert effective_size(np.array([1.0] + [0.05] * 40)) == 3


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=60), st.integers(0, 2**32))
def test_no_sample_comes_twice_in_an_epoch(weights: list[float], seed: int) -> None:
    drawn = draw_epoch(np.array(weights), rng=np.random.default_rng(seed))
    assert len(set(drawn.tolist())) == len(drawn) >= 1
    assert set(drawn.tolist()) <= set(range(len(weights)))


def test_samples_are_drawn_in_proportion_to_their_weight() -> None:
    weights = np.array([1.0, 0.5, 0.25, 0.25])
    rng = np.random.default_rng(1)
    counts = np.bincount(np.concatenate([draw_epoch(weights, rng=rng) for _ in range(4000)]), minlength=4)
    assert counts / 4000 == pytest.approx(weights, abs=0.03)


def test_a_weight_of_nothing_is_never_drawn() -> None:
    rng = np.random.default_rng(2)
    drawn = np.concatenate([draw_epoch(np.array([1.0, 0.0, 1.0]), rng=rng) for _ in range(200)])
    assert set(drawn.tolist()) == {0, 2}


def test_batches_count_their_epochs() -> None:
    taken = list(islice(batches(np.ones(5), batch_size=2, rng=np.random.default_rng(0)), 6))
    assert [len(batch.indices) for batch in taken] == [2, 2, 1, 2, 2, 1]
    assert [batch.epoch for batch in taken] == [0, 0, 0, 1, 1, 1]
    assert sorted(np.concatenate([batch.indices for batch in taken[3:]]).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("weights", [np.array([]), np.zeros(3)])
def test_a_pool_with_no_weight_is_refused(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="none is above 0"):
        next(batches(weights, batch_size=2, rng=np.random.default_rng(0)))
