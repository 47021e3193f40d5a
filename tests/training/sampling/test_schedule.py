"""The proportion of the channels holds at every prefix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.sampling.schedule import Mixing, channel_turns, step_shares

MIXINGS: tuple[Mixing, ...] = ("interleaved", "mixed", "alternating")


def memory_turns(steps: int, *, sft_weight: float, mixing: Mixing = "interleaved") -> list[bool]:
    return ["sft" in turn for turn in channel_turns(steps, sft_weight=sft_weight, mixing=mixing)]


def test_interleaved_gives_two_in_five() -> None:
    assert memory_turns(10, sft_weight=0.4) == [False, True, False, True, False, False, True, False, True, False]


@given(steps=st.integers(0, 400), sft_weight=st.floats(0, 0.5))
def test_interleaved_is_within_half_a_step_at_every_prefix(steps: int, sft_weight: float) -> None:
    taken = np.cumsum(memory_turns(steps, sft_weight=sft_weight))
    due = np.arange(1, steps + 1) * sft_weight
    assert np.all(np.abs(taken - due) <= 0.5 + 1e-9)


def test_alternating_takes_strict_turns_whatever_the_weight() -> None:
    assert memory_turns(4, sft_weight=0.1, mixing="alternating") == [False, True, False, True]


def test_mixed_puts_both_channels_into_every_step_memory_first() -> None:
    assert channel_turns(3, sft_weight=0.4, mixing="mixed") == (("sft", "preference"),) * 3


@pytest.mark.parametrize("mixing", MIXINGS)
def test_one_channel_alone_takes_every_step(mixing: Mixing) -> None:
    assert channel_turns(5, sft_weight=0.0, mixing=mixing) == (("preference",),) * 5
    assert channel_turns(5, sft_weight=1.0, mixing=mixing) == (("sft",),) * 5


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("sft_weight", [0.0, 0.25, 0.4, 1.0])
def test_the_shares_are_those_of_the_turns(mixing: Mixing, sft_weight: float) -> None:
    turns = channel_turns(200, sft_weight=sft_weight, mixing=mixing)
    shares = step_shares(sft_weight=sft_weight, mixing=mixing)
    assert sum("sft" in turn for turn in turns) == 200 * shares["sft"]
    assert sum("preference" in turn for turn in turns) == 200 * shares["preference"]


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^sft_weight: got 1\.5, allowed 0 to 1$"):
        channel_turns(5, sft_weight=1.5, mixing="interleaved")
