"""What a step changes is written down with what was there before, in the same transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from maintenance.journal import change_rows, create_rows, note_created
from maintenance.models import Proposal, RowChange
from memory import curation
from memory.models import PreferencePair, SftPair
from tests.maintenance import nights
from tests.memory import rows

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 3, 1, 4, 5, 6, 789012, tzinfo=UTC)


def journal() -> list[tuple[Any, ...]]:
    return list(RowChange.objects.order_by("pk").values_list("step", "table", "row_id", "before", "after"))


def test_a_change_is_written_down_with_what_was_before() -> None:
    one, other = rows.sft_pair(), rows.sft_pair(reward_intensity=0.25, metadata={"a": [1]})
    night = nights.night("merge")
    changed = change_rows(
        night,
        ["reward_intensity", "archived_at", "metadata", "merged_into_id"],
        [(other.pk, 0.75, MOMENT, {"b": None}, one.pk)],
        among=SftPair.objects.all(),
    )
    assert changed == [other.pk]
    other.refresh_from_db()
    assert (other.reward_intensity, other.archived_at, other.metadata, other.merged_into) == (
        *(0.75, MOMENT, {"b": None}, one),
    )
    before = {"reward_intensity": 0.25, "archived_at": None, "metadata": {"a": [1]}, "merged_into_id": None}
    after = {
        "reward_intensity": 0.75,
        "archived_at": "2026-03-01T04:05:06.789012+00:00",
        "metadata": {"b": None},
        "merged_into_id": one.pk,
    }
    assert journal() == [("merge", "memory.sftpair", other.pk, before, after)]
    assert RowChange.objects.get().run == night.run


def test_a_row_that_holds_the_values_already_is_left_alone() -> None:
    same, other = rows.sft_pair(reward_intensity=0.9), rows.sft_pair()
    wanted = [(same.pk, 0.9), (other.pk, 0.9)]
    night = nights.night("merge")
    assert change_rows(night, ["reward_intensity"], wanted, among=SftPair.objects.all()) == [other.pk]
    assert change_rows(night, ["reward_intensity"], wanted, among=SftPair.objects.all()) == []
    assert [row[2] for row in journal()] == [other.pk]


def test_a_row_that_is_no_longer_meant_is_left_alone() -> None:
    meant, edited, gone = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    among = SftPair.objects.filter(review_status="pending")
    curation.reject(pairs=SftPair.objects.filter(pk=edited.pk), user=None)
    gone_key = gone.pk
    gone.delete()
    wanted = [(pk, 0.9) for pk in (meant.pk, edited.pk, gone_key)]
    assert change_rows(nights.night("merge"), ["reward_intensity"], wanted, among=among) == [meant.pk]
    edited.refresh_from_db()
    assert edited.reward_intensity == 0.5


def test_nothing_is_asked_of_the_database_for_nothing() -> None:
    night = nights.night("merge")
    with CaptureQueriesContext(connection) as queries:
        assert change_rows(night, ["category"], [], among=SftPair.objects.all()) == []
        assert create_rows(night, Proposal, ["kind"], []) == []
    assert len(queries) == 0


def test_the_number_of_queries_does_not_depend_on_the_number_of_rows() -> None:
    night = nights.night("merge")
    counts = []
    for number in (1, 40):
        keys = [rows.sft_pair().pk for _ in range(number)]
        with CaptureQueriesContext(connection) as queries:
            change_rows(night, ["category"], [(key, "dogs") for key in keys], among=SftPair.objects.all())
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_change_that_the_table_refuses_is_not_in_the_journal() -> None:
    pair = rows.sft_pair()
    with pytest.raises(IntegrityError):
        change_rows(nights.night("merge"), ["reward_intensity"], [(pair.pk, 2.0)], among=SftPair.objects.all())
    assert journal() == []


def test_rows_that_are_made_have_no_before() -> None:
    pair, other, third = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    night = nights.night("merge")
    columns = ("run_id", "kind", "sft_pair_id", "other_sft_pair_id", "similarity", "reason", "status", "created_at")
    made = create_rows(
        night,
        Proposal,
        columns,
        [
            (night.run.pk, "correction", one.pk, two.pk, 0.95, f"names: {one.pk}", "open", MOMENT)
            for one, two in ((pair, other), (other, third))
        ],
    )
    assert [Proposal.objects.get(pk=key).reason for key in made] == [f"names: {pair.pk}", f"names: {other.pk}"]
    note_created(nights.night("extract", of=night.run), PreferencePair, [rows.preference_pair().pk])
    assert journal() == [
        *[("merge", "maintenance.proposal", key, None, {}) for key in made],
        ("extract", "memory.preferencepair", PreferencePair.objects.get().pk, None, {}),
    ]


def test_a_change_knows_the_history_before_it() -> None:
    pair = rows.sft_pair()
    for reward in (0.6, 0.7):
        curation.approve(pairs=SftPair.objects.all(), user=None)
        curation.reopen(pairs=SftPair.objects.all(), user=None)
        change_rows(nights.night("merge"), ["reward_intensity"], [(pair.pk, reward)], among=SftPair.objects.all())
    newest = list(RowChange.objects.order_by("pk").values_list("history_id", flat=True))
    keys = list(SftPair.history.order_by("history_id").values_list("history_id", flat=True))
    # The second decision found what the first night had changed, and wrote that down before.
    assert newest == [keys[2], keys[5]]


def test_the_history_of_the_pairs_is_not_written_by_machines() -> None:
    pair = rows.sft_pair()
    change_rows(nights.night("merge"), ["reward_intensity"], [(pair.pk, 0.9)], among=SftPair.objects.all())
    assert not SftPair.history.exists()
