"""Which row goes to which, in arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance.merging import greedy
from maintenance.merging.greedy import APART, DIFFERENT_FACTS, SAME, Rows, Verdicts, assign
from maintenance.similarity import SimilarPairs

# By second and first row: their cosine, and what is found about them.
Pairs = dict[tuple[int, int], tuple[float, int]]


def similar(pairs: Pairs) -> SimilarPairs:
    ordered = sorted(pairs)
    return SimilarPairs(
        first=np.array([first for _, first in ordered], dtype=np.int32),
        second=np.array([second for second, _ in ordered], dtype=np.int32),
        similarity=np.array([pairs[key][0] for key in ordered], dtype=np.float32),
        complete=True,
    )


class Judge:
    """Says what the test says, and remembers what it was asked."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self.asked: list[tuple[int, int]] = []

    def __call__(self, first: Rows, second: Rows) -> Verdicts:
        keys = list(zip(second.tolist(), first.tolist(), strict=True))
        self.asked += keys
        return np.array([self._pairs[key][1] for key in keys], dtype=np.uint8)


def by_hand(pairs: Pairs, count: int) -> list[int]:
    into = [-1] * count
    for row in range(count):
        same = [
            (-similarity, first)
            for (second, first), (similarity, verdict) in pairs.items()
            if second == row and verdict == SAME and into[first] == -1
        ]
        into[row] = min(same)[1] if same else -1
    return into


PAIRS = st.dictionaries(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda key: key[0] > key[1]),
    st.tuples(st.sampled_from([0.9375, 0.9453125, 0.953125]), st.sampled_from([0, 1, 1, 2])),
    max_size=40,
)


@given(pairs=PAIRS, portion=st.integers(1, 12))
def test_each_row_goes_to_the_most_similar_one_before_it_that_stays(pairs: Pairs, portion: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy, "PORTION_PAIRS", portion)
        found = assign(similar(pairs), count=10, judge=Judge(pairs))
    assert found.into.tolist() == by_hand(pairs, 10)
    ordered = sorted(pairs)
    stays = {row for row, into in enumerate(found.into.tolist()) if into == -1}
    for place, (second, first) in enumerate(ordered):
        if {first, second} <= stays:
            # What stays side by side was judged, and is not the same thing.
            assert found.verdicts[place] == pairs[second, first][1] != SAME
    for row, into in enumerate(found.into.tolist()):
        assert found.similarity[row] == (0 if into == -1 else np.float32(pairs[row, into][0]))


def test_pairs_of_a_row_that_goes_are_not_judged_in_later_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "PORTION_PAIRS", 1)
    pairs: Pairs = {(1, 0): (0.95, int(SAME)), (2, 1): (0.95, int(SAME)), (3, 2): (0.95, int(DIFFERENT_FACTS))}
    judge = Judge(pairs)
    found = assign(similar(pairs), count=4, judge=judge)
    assert found.into.tolist() == [-1, 0, -1, -1]
    assert judge.asked == [(1, 0), (3, 2)]
    assert found.verdicts.tolist() == [SAME, APART, DIFFERENT_FACTS]


def test_progress_is_told_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "PORTION_PAIRS", 1)
    pairs: Pairs = {(1, 0): (0.95, 0), (2, 0): (0.95, 0), (2, 1): (0.95, 0), (3, 0): (0.95, 0)}
    told: list[float] = []
    assign(similar(pairs), count=4, judge=Judge(pairs), on_progress=told.append)
    assert told == [0.25, 0.75, 1.0]


def test_nothing_similar_leaves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert assign(similar({}), count=3, judge=Judge({})).into.tolist() == [-1, -1, -1]
    assert assign(similar({}), count=0, judge=Judge({})).into.tolist() == []
