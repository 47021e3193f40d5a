"""What a person decides about pairs, and what is left on record."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.curation import approve, merge, reemit, reject, reopen, unarchive
from memory.models import PreferencePair, SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}
ARCHIVED: dict[str, Any] = {"archived_at": datetime(2026, 5, 1, tzinfo=UTC)}

# For every decision: the function, a pair that it changes, a pair that is so already, what it leaves.
DECISIONS: dict[str, tuple[Callable[..., int], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "approved": (approve, {"review_status": "pending"}, {"review_status": "approved"}, {"review_status": "approved"}),
    "rejected": (reject, {"review_status": "approved"}, {"review_status": "rejected"}, {"review_status": "rejected"}),
    "put back to pending": (
        reopen,
        {"review_status": "rejected"},
        {"review_status": "pending"},
        {"review_status": "pending"},
    ),
    "taken out of the archive": (unarchive, ARCHIVED, {"archived_at": None}, {"archived_at": None}),
    "re-emitted": (reemit, USED, {"is_used": False}, {**USED, "is_used": False}),
}


@pytest.fixture
def curator() -> User:
    return User.objects.create(username="curator")


@pytest.mark.parametrize("reason", DECISIONS)
def test_a_decision_changes_and_counts_those_pairs_that_are_not_so_yet(reason: str, curator: User) -> None:
    decide, before, already, after = DECISIONS[reason]
    changed, same, elsewhere = rows.sft_pair(**before), rows.sft_pair(**already), rows.sft_pair(**before)
    assert decide(pairs=SftPair.objects.exclude(pk=elsewhere.pk), user=curator) == 1
    changed.refresh_from_db()
    elsewhere.refresh_from_db()
    assert {name: getattr(changed, name) for name in after} == after
    assert {name: getattr(elsewhere, name) for name in before} == before
    assert not SftPair.history.filter(id__in=[same.pk, elsewhere.pk]).exists()


@pytest.mark.parametrize("reason", DECISIONS)
def test_the_record_has_the_state_before_and_who_changed_it(reason: str, curator: User) -> None:
    decide, before, _, after = DECISIONS[reason]
    pair = rows.preference_pair(**before)
    decide(pairs=PreferencePair.objects.all(), user=curator)
    changed, original = PreferencePair.history.filter(id=pair.pk)
    assert (original.history_type, original.history_change_reason, original.history_user) == (
        "+",
        "as first stored",
        None,
    )
    assert {name: getattr(original, name) for name in before} == before
    assert (changed.history_type, changed.history_change_reason, changed.history_user) == ("~", reason, curator)
    assert {name: getattr(changed, name) for name in after} == after
    assert changed.history_date >= original.history_date


def test_the_record_keeps_every_field_of_a_pair(curator: User) -> None:
    talk = rows.conversation()
    pair = rows.sft_pair(
        conversation=talk,
        user_message=rows.message(talk, "m1", role="user"),
        assistant_message=rows.message(talk, "m2"),
        merged_into=rows.sft_pair(),
        context=[{"role": "user", "content": "Grüße"}],
        metadata={"a": [1, None]},
        loss=0.5,
        **USED,
    )
    approve(pairs=SftPair.objects.filter(pk=pair.pk), user=curator)
    original = SftPair.history.filter(id=pair.pk).earliest("history_id")
    assert original.instance == pair
    fields = [field.attname for field in SftPair._meta.concrete_fields]
    assert {name: getattr(original.instance, name) for name in fields} == {name: getattr(pair, name) for name in fields}


def test_the_first_state_is_recorded_once(curator: User) -> None:
    pair = rows.sft_pair()
    approve(pairs=SftPair.objects.all(), user=curator)
    reject(pairs=SftPair.objects.all(), user=curator)
    reasons = SftPair.history.filter(id=pair.pk).order_by("history_id").values_list("history_change_reason", flat=True)
    assert list(reasons) == ["as first stored", "approved", "rejected"]


def test_a_decision_of_nobody_in_particular_is_recorded_without_a_name() -> None:
    rows.sft_pair()
    approve(pairs=SftPair.objects.all(), user=None)
    assert SftPair.history.latest("history_id").history_user is None


def test_what_training_did_to_a_pair_since_its_last_record_is_on_record_before_the_decision(curator: User) -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    approve(pairs=SftPair.objects.all(), user=curator)
    SftPair.objects.mark_used([pair.pk], training_epoch=2)
    reemit(pairs=SftPair.objects.all(), user=curator)
    reject(pairs=SftPair.objects.all(), user=curator)
    history = SftPair.history.filter(id=pair.pk).order_by("history_id")
    assert list(history.values_list("history_type", "history_change_reason", "history_user", "is_used")) == [
        ("+", "as first stored", None, False),
        ("~", "approved", curator.pk, False),
        ("~", "as found", None, True),
        ("~", "re-emitted", curator.pk, False),
        ("~", "rejected", curator.pk, False),
    ]
    reasons = SftPair.history.filter(id=other.pk).order_by("history_id").values_list("history_change_reason", flat=True)
    assert list(reasons) == ["as first stored", "approved", "rejected"]


def test_a_reemission_says_why(curator: User) -> None:
    pair = rows.sft_pair(**USED)
    assert reemit(pairs=SftPair.objects.all(), user=curator, reason="  the dog\nhas a new name ") == 1
    assert pair.history.latest("history_id").history_change_reason == "re-emitted: the dog has a new name"


def test_a_reason_that_the_history_has_no_room_for_is_refused(curator: User) -> None:
    rows.sft_pair(**USED)
    assert reemit(pairs=SftPair.objects.none(), user=curator, reason="x" * 88) == 0
    with pytest.raises(ValidationError) as refusal:
        reemit(pairs=SftPair.objects.all(), user=curator, reason="x" * 89)
    assert refusal.value.messages == ["reason: got 89 characters, allowed 88 or less"]
    assert SftPair.objects.get().is_used


@pytest.mark.parametrize("count", [3, 3_000])
def test_a_decision_takes_four_queries_whatever_the_count(count: int, curator: User) -> None:
    SftPair.objects.insert(rows.unsaved_sft_pair(instruction=f"Question {number}") for number in range(count))
    with CaptureQueriesContext(connection) as captured:
        assert reject(pairs=SftPair.objects.all(), user=curator) == count
    statements = [query["sql"] for query in captured if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert [statement.split()[0] for statement in statements] == ["SELECT", "INSERT", "UPDATE", "INSERT"]


def test_pairs_found_through_another_table_can_be_decided(curator: User) -> None:
    rows.sft_pair(conversation=rows.conversation(title="The dog"))
    rows.sft_pair(conversation=rows.conversation("c2", title="The cat"))
    found = SftPair.objects.filter(conversation__title__icontains="dog").select_related("conversation")
    assert approve(pairs=found, user=curator) == 1


def test_merging_takes_those_along_that_a_merged_pair_stood_for(curator: User) -> None:
    survivor, member = rows.sft_pair(), rows.sft_pair()
    follower = rows.sft_pair(merged_into=member)
    assert merge(pairs=SftPair.objects.filter(pk=member.pk), into=survivor, user=curator) == 2
    assert set(survivor.merged_pairs.all()) == {member, follower}
    changed, original = SftPair.history.filter(id=member.pk)
    assert (changed.history_change_reason, changed.history_user) == (f"merged into {survivor.pk}", curator)
    assert original.merged_into_id is None
    assert merge(pairs=SftPair.objects.filter(pk=member.pk), into=survivor, user=curator) == 0


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"review_status": "rejected"}, "rejected"), ({"archived_at": datetime(2026, 5, 1, tzinfo=UTC)}, "archived")],
)
def test_a_pair_that_is_not_trained_cannot_stand_for_others(fields: dict[str, Any], why: str, curator: User) -> None:
    survivor, member = rows.sft_pair(**fields), rows.sft_pair()
    with pytest.raises(ValueError, match=f"got pair {survivor.pk}, which is {why}; allowed a pair that may be trained"):
        merge(pairs=SftPair.objects.filter(pk=member.pk), into=survivor, user=curator)
    member.refresh_from_db()
    assert member.merged_into is None


def test_a_pair_that_is_merged_away_cannot_stand_for_others(curator: User) -> None:
    survivor = rows.sft_pair(merged_into=rows.sft_pair())
    with pytest.raises(ValueError, match="merged into another"):
        merge(pairs=SftPair.objects.filter(pk=rows.sft_pair().pk), into=survivor, user=curator)


def test_a_pair_is_not_merged_into_itself(curator: User) -> None:
    pair = rows.sft_pair()
    with pytest.raises(ValueError, match=f"got pair {pair.pk} to be merged into itself"):
        merge(pairs=SftPair.objects.all(), into=pair, user=curator)
