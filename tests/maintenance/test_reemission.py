"""Which pairs are worth training again: a rule over arrays, without a database."""

from __future__ import annotations

from itertools import combinations
from math import e, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from maintenance.reemission import CANDIDATE, NO_CLUSTER, pick, scores


def candidates(*rows: dict[str, Any]) -> npt.NDArray[np.void]:
    """Return candidates with keys from 0, unless they name their own."""
    values = {"reward": 0.8, "is_approved": False, "did_not_stick": False, "used_at": 0.0, "cluster": 0}
    return np.array(
        [tuple({"key": key, **values, **row}[name] for name in CANDIDATE.names or ()) for key, row in enumerate(rows)],
        dtype=CANDIDATE,
    )


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "reward": st.floats(0, 1),
            "is_approved": st.booleans(),
            "did_not_stick": st.booleans(),
            "used_at": st.sampled_from([0.0, 1.0, 2.0]),
            "cluster": st.integers(NO_CLUSTER, 3),
        }
    ),
    max_size=12,
)
UNUSED = st.dictionaries(st.integers(NO_CLUSTER, 4), st.integers(0, 50), max_size=4)


@given(rows=ROWS, unused=UNUSED, budget=st.integers(0, 15))
def test_the_budget_is_kept_and_used_up(rows: list[dict[str, Any]], unused: dict[int, int], budget: int) -> None:
    picked = pick(candidates(*rows), unused=unused, budget=budget)
    assert len(picked) == len(set(picked)) == min(budget, len(rows))
    assert set(picked) <= set(range(len(rows)))


@given(rows=ROWS, unused=UNUSED, budget=st.integers(0, 15), data=st.data())
def test_the_order_of_the_rows_does_not_matter(
    rows: list[dict[str, Any]], unused: dict[int, int], budget: int, data: st.DataObject
) -> None:
    given_rows = candidates(*rows)
    order = data.draw(st.permutations(range(len(rows))))
    assert pick(given_rows[list(order)], unused=unused, budget=budget) == pick(given_rows, unused=unused, budget=budget)


@given(rows=ROWS, unused=UNUSED, budget=st.integers(0, 15))
def test_a_larger_budget_only_adds(rows: list[dict[str, Any]], unused: dict[int, int], budget: int) -> None:
    found = candidates(*rows)
    assert pick(found, unused=unused, budget=budget + 1)[:budget] == pick(found, unused=unused, budget=budget)


@given(rows=ROWS.filter(lambda rows: len(rows) <= 8), unused=UNUSED, budget=st.integers(1, 4))
def test_the_choice_is_as_near_to_the_best_as_the_source_proves(
    rows: list[dict[str, Any]], unused: dict[int, int], budget: int
) -> None:
    found = candidates(*rows)
    worth = scores(found)

    def value(keys: tuple[int, ...]) -> float:
        """Return what the keys add over all clusters."""
        total = 0.0
        for cluster in set(found["cluster"].tolist()):
            mass = unused.get(cluster, 0)
            total += sqrt(mass + sum(worth[key] for key in keys if found["cluster"][key] == cluster)) - sqrt(mass)
        return total

    best = max((value(keys) for keys in combinations(range(len(rows)), min(budget, len(rows)))), default=0.0)
    assert value(tuple(pick(found, unused=unused, budget=budget))) >= (1 - 1 / e) * best - 1e-9


def test_a_score_is_the_reward_or_a_persons_word_and_more_where_nothing_was_learned() -> None:
    found = candidates(
        {"reward": 0.7},
        {"reward": 0.7, "is_approved": True},
        {"reward": 0.7, "did_not_stick": True},
        {"reward": 0.0, "is_approved": True, "did_not_stick": True},
    )
    assert scores(found).tolist() == [0.7, 1.0, 1.2, 1.5]


def test_the_most_valuable_pairs_come_first() -> None:
    found = candidates(
        {"reward": 0.9},
        {"reward": 0.8, "did_not_stick": True},
        {"reward": 0.95},
        {"reward": 0.7, "is_approved": True},
    )
    assert pick(found, unused={}, budget=4) == [1, 3, 2, 0]


def test_of_equal_pairs_the_one_that_rested_longest_comes_first_then_the_older() -> None:
    found = candidates({"key": 5, "used_at": 2.0}, {"key": 7, "used_at": 1.0}, {"key": 3, "used_at": 2.0})
    assert pick(found, unused={}, budget=3) == [7, 3, 5]


def test_equal_pairs_are_spread_evenly_over_the_clusters() -> None:
    found = candidates(*[{"cluster": cluster} for cluster in (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)])
    picked = pick(found, unused={}, budget=6)
    assert np.bincount(found["cluster"][picked]).tolist() == [3, 2, 1]
    assert sorted(found["cluster"][picked[:3]].tolist()) == [0, 1, 2]


def test_a_cluster_with_few_unused_pairs_comes_first() -> None:
    found = candidates({"cluster": 0}, {"cluster": 1}, {"cluster": 2})
    assert pick(found, unused={0: 9, 1: 1, 2: 4}, budget=3) == [1, 2, 0]


def test_value_outweighs_a_small_difference_in_coverage() -> None:
    found = candidates({"cluster": 0, "reward": 0.7}, {"cluster": 1, "reward": 0.9, "did_not_stick": True})
    assert pick(found, unused={0: 9, 1: 10}, budget=1) == [1]
    assert pick(found, unused={0: 0, 1: 10}, budget=1) == [0]


def test_what_a_pair_adds_is_a_difference_of_roots() -> None:
    found = candidates({"cluster": 0, "reward": 0.7}, {"cluster": 1, "reward": 1.0, "did_not_stick": True})
    # √(4 + 1.5) - √4 is more than √(1 + 0.7) - √1, and less than √0.7.
    assert pick(found, unused={0: 1, 1: 4}, budget=1) == [1]
    assert pick(found, unused={0: 0, 1: 4}, budget=1) == [0]


def test_pairs_without_a_cluster_are_a_group_of_their_own() -> None:
    found = candidates({"cluster": NO_CLUSTER}, {"cluster": NO_CLUSTER}, {"cluster": 4})
    assert pick(found, unused={}, budget=2) == [0, 2]


def test_without_candidates_nothing_is_picked() -> None:
    assert pick(candidates(), unused={0: 1}, budget=3) == []
