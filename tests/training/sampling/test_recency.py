"""Recency keeps an order among old samples, never a division by zero."""

import numpy as np
import pytest

from training.sampling.recency import recency_weights

HOUR, DAY = 3600.0, 86400.0


def weights(*ages: float, floor: float = 0.0) -> np.ndarray:
    return recency_weights(np.array(ages), fast_seconds=1800, slow_seconds=7200, floor=floor)


def test_the_slower_curve_wins() -> None:
    """exp(-3600/7200) = 0.6065 against exp(-3600/1800) = 0.1353."""
    assert weights(0, HOUR) == pytest.approx([1.0, np.exp(-0.5)])


def test_month_old_samples_still_have_an_order() -> None:
    old = weights(30 * DAY, 30 * DAY + HOUR, 30 * DAY + 2 * HOUR)
    assert old == pytest.approx([1.0, np.exp(-0.5), np.exp(-1.0)])


def test_the_floor_holds_up_what_is_far_older() -> None:
    assert weights(0, 365 * DAY, floor=0.05) == pytest.approx([1.0, 0.05])


def test_without_a_floor_the_far_older_one_has_nothing() -> None:
    assert weights(0, 365 * DAY)[1] == 0.0


def test_a_clock_that_ran_ahead_counts_as_now() -> None:
    assert weights(-HOUR, 0) == pytest.approx([1.0, 1.0])


def test_an_empty_pool_has_no_weights() -> None:
    assert weights().shape == (0,)
