"""An epoch draws each sample once at most, the heavier ones more often over many epochs."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.sampling.epochs import batches, draw_epoch, effective_size


def drawn_in(weights: np.ndarray, *, rng: np.random.Generator, strata: np.ndarray | None = None) -> np.ndarray:
    return draw_epoch(weights, size=effective_size(weights), rng=rng, strata=strata)


def test_equal_weights_draw_the_whole_pool() -> None:
    drawn = drawn_in(np.full(100, 0.3), rng=np.random.default_rng(0))
    assert sorted(drawn.tolist()) == list(range(100))


def test_one_heavy_sample_shrinks_the_epoch() -> None:
    assert effective_size(np.array([1.0] + [0.05] * 40)) == 3


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=60), st.integers(0, 2**32))
def test_no_sample_comes_twice_in_an_epoch(weights: list[float], seed: int) -> None:
    drawn = drawn_in(np.array(weights), rng=np.random.default_rng(seed))
    assert len(set(drawn.tolist())) == len(drawn) >= 1
    assert set(drawn.tolist()) <= set(range(len(weights)))


@pytest.mark.parametrize("strata", [None, np.array([0, 1, 0, 1])])
def test_samples_are_drawn_in_proportion_to_their_weight(strata: np.ndarray | None) -> None:
    weights = np.array([1.0, 0.5, 0.25, 0.25])
    rng = np.random.default_rng(1)
    drawn = np.concatenate([drawn_in(weights, rng=rng, strata=strata) for _ in range(4000)])
    assert np.bincount(drawn, minlength=4) / 4000 == pytest.approx(weights, abs=0.03)


def test_every_stratum_is_drawn_from_as_its_weight_says_in_every_epoch() -> None:
    """Of 60 samples at rates of 0.5, 0.25 and 0.75 each, 20 of a kind, an epoch draws 10, 5 and 15."""
    strata = np.tile([0, 1, 2], 20)
    rates = np.array([0.5, 0.25, 0.75])[strata]
    rng = np.random.default_rng(2)
    counts = [np.bincount(strata[draw_epoch(rates, size=30, rng=rng, strata=strata)]) for _ in range(50)]
    assert np.abs(np.array(counts) - [10, 5, 15]).max() <= 1


@pytest.mark.parametrize("strata", [None, np.arange(4)])
def test_no_two_samples_exclude_each_other_for_good(strata: np.ndarray | None) -> None:
    """Four of which an epoch draws two: in a fixed order none would ever come with its neighbour."""
    rng = np.random.default_rng(3)
    drawn = [draw_epoch(np.full(4, 0.5), size=2, rng=rng, strata=strata) for _ in range(200)]
    assert {tuple(sorted(pair.tolist())) for pair in drawn} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_any_sample_may_come_first() -> None:
    rng = np.random.default_rng(4)
    firsts = [int(drawn_in(np.ones(5), rng=rng)[0]) for _ in range(500)]
    assert np.bincount(firsts, minlength=5) == pytest.approx([100] * 5, abs=40)


def test_a_weight_of_nothing_is_never_drawn() -> None:
    rng = np.random.default_rng(2)
    drawn = np.concatenate([drawn_in(np.array([1.0, 0.0, 1.0]), rng=rng) for _ in range(200)])
    assert set(drawn.tolist()) == {0, 2}


def test_batches_count_their_epochs() -> None:
    taken = list(islice(batches(lambda: np.arange(5), batch_size=2), 6))
    assert [batch.indices.tolist() for batch in taken] == [[0, 1], [2, 3], [4]] * 2
    assert [batch.epoch for batch in taken] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("weights", [np.array([]), np.zeros(3)])
def test_a_pool_with_no_weight_is_refused(weights: np.ndarray) -> None:
    message = f"^weights: got {len(weights)} of which none is above 0, allowed at least one$"
    with pytest.raises(ValueError, match=message):
        effective_size(weights)
