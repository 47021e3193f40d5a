"""The order of candidates, and copies among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance.merging.ranking import CANDIDATE, hash_words, leaders, ranked

VALUES = st.tuples(
    st.booleans(),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.3, np.inf]),
    st.integers(-1, 1),
    st.integers(0, 1),
    st.integers(0, 1),
    st.booleans(),
    st.integers(0, 1),
)


def candidates(rows: list[Any]) -> Any:
    return np.array([(pair, *row) for pair, row in enumerate(rows)], dtype=CANDIDATE)


@given(rows=st.lists(VALUES, max_size=12))
def test_candidates_are_ordered_column_by_column(rows: list[Any]) -> None:
    def rank(pair: int) -> Any:
        approved, reward, loss, said, high, low, *_ = rows[pair]
        return not approved, -reward, loss, -said, high, low, pair

    assert ranked(candidates(rows))["pair"].tolist() == sorted(range(len(rows)), key=rank)


@given(rows=st.lists(VALUES, max_size=12))
def test_the_leader_is_the_first_of_the_same_content(rows: list[Any]) -> None:
    contents = [row[4:7] for row in rows]
    assert leaders(candidates(rows)).tolist() == [contents.index(content) for content in contents]


def test_words_of_a_hash() -> None:
    assert hash_words("0" * 15 + "1" + "f" * 16 + "a" * 32) == (1, 2**64 - 1)
    with pytest.raises(ValueError, match="content_hash: got '', allowed are 64 hex digits"):
        hash_words("")
