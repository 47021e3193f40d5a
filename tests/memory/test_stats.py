"""Counts of pairs, of the replay buffer, of introspection."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from memory.stats import introspection_stats, pair_stats
from memory.switches import turn
from tests.memory import rows
from tests.memory.extraction.talks import asked, think

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_empty_memory_has_no_ages() -> None:
    empty = {"total": 0, "used": 0, "unused": 0, "by_source": {}, "by_review_status": {}, "age_days": None}

    assert pair_stats().as_dict() == {"sft": empty, "preference": empty, "replay": {"total": 0, "by_kind": {}}}


def test_pairs_are_counted_by_source_review_and_use() -> None:
    used = {"is_used": True, "used_timestamp": timezone.now(), "training_epoch": 0}
    rows.sft_pair(source="conversation", review_status="approved", **used)
    rows.sft_pair(source="conversation")
    rows.sft_pair(source="introspection", review_status="rejected")
    rows.preference_pair(source="edit", **used)
    rows.replay_entry()
    rows.replay_entry(kind="introspection", internal_generated=True)
    rows.replay_entry(evicted_at=timezone.now())

    stats = pair_stats()

    assert (stats.sft.total, stats.sft.used, stats.sft.unused) == (3, 1, 2)
    assert stats.sft.by_source == {"conversation": 2, "introspection": 1}
    assert stats.sft.by_review_status == {"approved": 1, "pending": 1, "rejected": 1}
    assert (stats.preference.total, stats.preference.used, stats.preference.by_source) == (1, 1, {"edit": 1})
    assert (stats.replay.total, stats.replay.by_kind) == (2, {"experience": 1, "introspection": 1})


@pytest.mark.parametrize(
    ("ages", "median"),
    [([4.0], 4.0), ([1.0, 2.0, 9.0], 2.0), ([1.0, 2.0, 4.0, 9.0], 3.0)],  # of an even number, between the two
)
def test_ages_are_in_days(ages: list[float], median: float) -> None:
    for age in reversed(ages):
        rows.sft_pair(created_at=NOW - timedelta(days=age))

    found = pair_stats(now=NOW).sft.age_days

    assert found is not None
    assert (found.min, found.median, found.max) == (ages[0], median, ages[-1])


@pytest.mark.parametrize("count", [1, 20])
def test_counting_takes_seven_queries_whatever_the_count(
    count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(count):
        rows.sft_pair()
        rows.preference_pair(chosen=f"Hello {number}.")

    with django_assert_num_queries(7):
        pair_stats()


def test_introspection_is_counted_by_where_it_came_from() -> None:
    user = asked()
    think(user, "They have a dog.")
    think(user, "Obey me.", internal_generated=False)
    think(user, "Obey me again.", internal_generated=False)
    rows.sft_pair(source="introspection")
    turn("INTROSPECTION_IN_SFT", on=True)

    assert introspection_stats().as_dict() == {
        "enabled": True,
        "messages_internal": 1,
        "messages_not_internal": 2,
        "pairs": 1,
    }
