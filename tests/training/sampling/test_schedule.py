"""The proportion of the channels holds at every prefix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.sampling.schedule import channel_schedule


def test_interleaved_gives_two_in_five() -> None:
    takes_sft = channel_schedule(10, sft_weight=0.4, mixing="interleaved")
    assert takes_sft.tolist() == [False, True, False, True, False, False, True, False, True, False]


@given(steps=st.integers(0, 400), sft_weight=st.floats(0, 0.5))
def test_interleaved_is_within_half_a_step_at_every_prefix(steps: int, sft_weight: float) -> None:
    taken = np.cumsum(channel_schedule(steps, sft_weight=sft_weight, mixing="interleaved"))
    due = np.arange(1, steps + 1) * sft_weight
    assert np.all(np.abs(taken - due) <= 0.5 + 1e-9)


def test_alternating_takes_strict_turns() -> None:
    assert channel_schedule(4, sft_weight=0.4, mixing="alternating").tolist() == [False, True, False, True]


@pytest.mark.parametrize("mixing", ["interleaved", "alternating"])
def test_one_channel_alone_takes_every_step(mixing: str) -> None:
    assert not channel_schedule(5, sft_weight=0.0, mixing=mixing).any()  # type: ignore[arg-type]
    assert channel_schedule(5, sft_weight=1.0, mixing=mixing).all()  # type: ignore[arg-type]


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^sft_weight: got 1\.5, allowed 0 to 1$"):
        channel_schedule(5, sft_weight=1.5, mixing="interleaved")
