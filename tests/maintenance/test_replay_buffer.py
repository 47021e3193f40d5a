"""The priority of replay entries: a rule over arrays, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance.replay_buffer import ENTRY, HALF_LIFE_DAYS, LEAST_SURPRISE, kept, log_priorities, seconds

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def entries(*rows: dict[str, Any]) -> npt.NDArray[np.void]:
    """Return entries with keys from 0; `age_days` stands for `said_at`."""
    values = {"reward": 1.0, "may_stay": True, "is_buffered": True, "age_days": 0.0}
    found = []
    for key, row in enumerate(rows):
        whole = {"key": key, **values, **row}
        whole["said_at"] = seconds(NOW - timedelta(days=whole["age_days"]))
        found.append(tuple(whole[name] for name in ENTRY.names or ()))
    return np.array(found, dtype=ENTRY)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "reward": st.floats(0, 1),
            "age_days": st.sampled_from([0.0, 0.5, 30.0, 180.0, 10_000.0]),
            "may_stay": st.booleans(),
        }
    ),
    max_size=12,
)


@given(rows=ROWS, size=st.integers(1, 15))
def test_the_buffer_is_as_full_as_it_may_be(rows: list[dict[str, Any]], size: int) -> None:
    found = entries(*rows)
    belongs = kept(found, size=size, now=NOW)
    assert belongs.sum() == min(size, int(found["may_stay"].sum()))
    assert not (belongs & ~found["may_stay"]).any()


@given(rows=ROWS, size=st.integers(1, 15), data=st.data())
def test_the_order_of_the_rows_does_not_matter(rows: list[dict[str, Any]], size: int, data: st.DataObject) -> None:
    found = entries(*rows)
    order = list(data.draw(st.permutations(range(len(rows)))))
    assert kept(found[order], size=size, now=NOW).tolist() == kept(found, size=size, now=NOW)[order].tolist()


@given(rows=ROWS, size=st.integers(1, 15), days=st.floats(0, 5_000))
def test_no_entry_moves_with_time_alone(rows: list[dict[str, Any]], size: int, days: float) -> None:
    found = entries(*rows)
    later = kept(found, size=size, now=NOW + timedelta(days=days))
    assert later.tolist() == kept(found, size=size, now=NOW).tolist()


@given(rows=ROWS, size=st.integers(1, 15))
def test_nothing_that_is_kept_is_worth_less_than_what_is_not(rows: list[dict[str, Any]], size: int) -> None:
    found = entries(*rows)
    belongs = kept(found, size=size, now=NOW)
    priority = log_priorities(found, now=NOW)
    left = priority[~belongs & found["may_stay"]]
    if belongs.any() and left.size:
        assert priority[belongs].min() >= left.max()


def test_both_ends_of_the_reward_are_worth_most_and_the_middle_least() -> None:
    found = entries(*({"reward": reward} for reward in (0.5, 0.25, 1.0, 0.6, 0.0)))
    priority = log_priorities(found, now=NOW)
    assert priority[2] == priority[4]
    assert np.argsort(-priority, kind="stable").tolist() == [2, 4, 1, 3, 0]


def test_an_entry_loses_half_its_priority_in_a_half_life() -> None:
    new, old = log_priorities(entries({}, {"age_days": HALF_LIFE_DAYS}), now=NOW)
    assert new - old == pytest.approx(1.0)


def test_a_neutral_entry_is_worth_a_little() -> None:
    extreme, neutral = log_priorities(entries({}, {"reward": 0.5}), now=NOW)
    assert 2 ** (neutral - extreme) == pytest.approx(LEAST_SURPRISE / (1 + LEAST_SURPRISE))


def test_entries_of_centuries_ago_still_have_an_order() -> None:
    found = entries({"age_days": 700_000.0}, {"age_days": 700_001.0})
    assert kept(found, size=1, now=NOW).tolist() == [True, False]


def test_an_entry_from_the_future_counts_as_of_now() -> None:
    ahead, present = log_priorities(entries({"age_days": -4_000.0}, {}), now=NOW)
    assert ahead == present


def test_of_equal_entries_the_newest_stay() -> None:
    assert kept(entries({}, {}, {}), size=2, now=NOW).tolist() == [False, True, True]
