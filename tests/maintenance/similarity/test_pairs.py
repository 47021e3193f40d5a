"""Pairs are kept once, in order, and of too many the best ranked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance.similarity import pairs as module
from maintenance.similarity.pairs import PairCollector


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def kept(collector: PairCollector) -> list[tuple[int, int]]:
    first, second = collector.pairs()
    assert first.dtype == second.dtype == np.int32
    return list(zip(first.tolist(), second.tolist(), strict=True))


@pytest.fixture
def at_most_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 4)
    monkeypatch.setattr(module, "MOST_PARTNERS", 2)


def test_a_pair_that_comes_twice_is_kept_once_and_in_order() -> None:
    collector = PairCollector(10)
    collector.add(numbers(3, 0), numbers(9, 5))
    collector.add(numbers(2, 0), numbers(9, 5))
    assert kept(collector) == [(0, 5), (2, 9), (3, 9)]
    assert collector.complete


def test_nothing_found_is_an_empty_result() -> None:
    assert kept(PairCollector(0)) == []


def test_large_numbers_do_not_mix() -> None:
    last = 2**31 - 1
    collector = PairCollector(1)
    collector.add(numbers(last - 1, 0), numbers(last, last))
    assert kept(collector) == [(0, last), (last - 1, last)]


@pytest.mark.usefixtures("at_most_four")
def test_repeated_pairs_are_not_too_many() -> None:
    collector = PairCollector(10)
    for _ in range(9):
        collector.add(numbers(0, 1), numbers(2, 3))
    assert (len(kept(collector)), collector.complete) == (2, True)


@pytest.mark.usefixtures("at_most_four")
def test_of_too_many_each_row_keeps_its_lowest_partners() -> None:
    collector = PairCollector(10)
    collector.add(numbers(7, 1, 6, 3, 0), numbers(9, 9, 9, 9, 2))
    assert kept(collector) == [(0, 2), (1, 9), (3, 9)]
    assert not collector.complete


@pytest.mark.usefixtures("at_most_four")
def test_only_a_row_whose_list_is_full_refuses_partners() -> None:
    collector = PairCollector(10)
    assert collector.wants(numbers(8), numbers(9)).all()
    assert not collector.wants_none(numbers(8), numbers(9))
    collector.add(numbers(7, 1, 6, 3, 0), numbers(9, 9, 9, 9, 2))
    assert collector.wants(numbers(2, 3, 4, 1), numbers(9, 9, 9, 2)).tolist() == [True, False, False, True]
    assert collector.wants_none(numbers(5, 4), numbers(9)) is False  # 4 and 5 may be second to each other's rows
    collector.add(numbers(0, 1, 0, 1), numbers(4, 4, 5, 5))
    kept(collector)
    assert collector.wants_none(numbers(5, 4), numbers(9)) is True
    assert collector.wants_none(numbers(5, 2), numbers(9)) is False


@settings(deadline=None, max_examples=60)
@given(data=st.data(), limit=st.integers(1, 30), partners=st.integers(1, 4))
def test_what_is_left_does_not_depend_on_the_order(data: st.DataObject, limit: int, partners: int) -> None:
    pair = st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda each: each[0] < each[1])
    found = data.draw(st.lists(pair, max_size=60))
    distinct = sorted(set(found), key=lambda each: (each[1], each[0]))
    expected = distinct
    if len(distinct) > limit:
        expected = [each for second in range(7) for each in [one for one in distinct if one[1] == second][:partners]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PAIRS", limit)
        patch.setattr(module, "MOST_PARTNERS", partners)
        for order in (found, data.draw(st.permutations(found))):
            collector = PairCollector(7)
            for first, second in order:
                if collector.wants(numbers(first), numbers(second))[0]:
                    collector.add(numbers(first), numbers(second))
            assert kept(collector) == expected
            assert collector.complete == (len(distinct) <= limit)
