"""Sequences that share their beginning, in one row."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.trainer.packing import TokenSequence, common_prefix, length_buckets, pack

sequences = st.lists(
    st.lists(st.integers(0, 2), min_size=2, max_size=8).map(lambda ids: TokenSequence(tuple(ids), start=1)),
    min_size=1,
    max_size=5,
)


def test_chosen_and_rejected_share_their_prompt() -> None:
    """Prompt 1 2 3, chosen 4 5, rejected 6 7: the prompt stands once, positions restart after it."""
    row = pack([TokenSequence((1, 2, 3, 4, 5), start=3), TokenSequence((1, 2, 3, 6, 7), start=3)])
    assert row.input_ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 3, 4]
    assert [columns.tolist() for columns in row.predictors] == [[2, 3], [2, 5]]
    assert [targets.tolist() for targets in row.targets] == [[4, 5], [6, 7]]
    assert row.branches


def test_a_rejected_token_sees_the_prompt_but_no_chosen_token() -> None:
    row = pack([TokenSequence((1, 2, 3), start=2), TokenSequence((1, 2, 4), start=2)])
    assert row.visible().tolist() == [
        [True, False, False, False],  # prompt
        [True, True, False, False],  # prompt
        [True, True, True, False],  # chosen
        [True, True, False, True],  # rejected
    ]


def test_a_single_sequence_does_not_branch() -> None:
    assert not pack([TokenSequence((1, 2, 3), start=1)]).branches


def test_turns_of_one_conversation_stand_once() -> None:
    """A second turn that goes on from the first adds nothing but its own tokens."""
    row = pack([TokenSequence((1, 2, 3), start=2), TokenSequence((1, 2, 3, 4, 5), start=4)])
    assert row.input_ids.tolist() == [1, 2, 3, 4, 5]
    assert [targets.tolist() for targets in row.targets] == [[3], [5]]


@given(sequences)
def test_each_sequence_can_be_read_back_from_what_its_last_token_sees(given_sequences: list[TokenSequence]) -> None:
    row = pack(given_sequences)
    visible = row.visible()
    for number, sequence in enumerate(given_sequences):
        own = np.flatnonzero(row.members[:, number])
        own = own[np.argsort(row.positions[own])]
        assert row.input_ids[own].tolist() == list(sequence.ids)
        assert np.flatnonzero(visible[own[-1]]).tolist() == sorted(own.tolist())
        assert row.input_ids[row.predictors[number]].tolist() == list(sequence.ids[sequence.start - 1 : -1])


@given(sequences)
def test_no_token_sees_a_later_position(given_sequences: list[TokenSequence]) -> None:
    row = pack(given_sequences)
    seen = np.where(row.visible(), row.positions[None, :], 0)
    assert (seen.max(axis=1) == row.positions).all()


@pytest.mark.parametrize(("first", "second", "length"), [((1, 2), (1, 3), 1), ((1,), (1, 2), 1), ((), (1,), 0)])
def test_a_common_prefix_is_counted(first: tuple[int, ...], second: tuple[int, ...], length: int) -> None:
    assert common_prefix(first, second) == length


def cost(buckets: list[list[int]], lengths: list[int], *, overhead: int) -> int:
    return sum(len(bucket) * max(lengths[index] for index in bucket) + overhead for bucket in buckets)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=7), st.integers(0, 30), st.integers(1, 4))
def test_buckets_cost_no_more_than_any_division_of_the_sorted_rows(
    lengths: list[int], overhead: int, largest: int
) -> None:
    buckets = length_buckets(lengths, overhead_tokens=overhead, largest=largest)
    assert sorted(index for bucket in buckets for index in bucket) == list(range(len(lengths)))
    assert max(map(len, buckets)) <= largest
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    cheapest = min(
        cost(division, lengths, overhead=overhead)
        for cuts in itertools.product([True, False], repeat=len(lengths) - 1)
        if max(map(len, division := divided(order, cuts))) <= largest
    )
    assert cost(buckets, lengths, overhead=overhead) == cheapest


def divided(order: list[int], cuts: tuple[bool, ...]) -> list[list[int]]:
    parts = [[order[0]]]
    for index, cut in zip(order[1:], cuts, strict=True):
        if cut:
            parts.append([])
        parts[-1].append(index)
    return parts
