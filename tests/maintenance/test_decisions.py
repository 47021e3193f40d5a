"""What a person decides about proposals."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from maintenance.decisions import UndecidableError, accept, dismiss, reopen
from maintenance.models import Proposal
from memory.models import SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def curator() -> User:
    return User.objects.create(username="curator")


def proposal(**fields: Any) -> Proposal:
    values = {
        "kind": "contradiction",
        "sft_pair": rows.sft_pair(response="Biscuit."),
        "other_sft_pair": rows.sft_pair(response="Pixel."),
        "similarity": 0.95,
        "reason": "names: Biscuit / Pixel",
        **fields,
    }
    return Proposal.objects.create(**values)


def test_accepting_lets_the_newer_pair_stand_for_the_older_one(curator: User) -> None:
    found = proposal()
    assert accept(proposals=Proposal.objects.all(), user=curator) == 1
    (older,) = SftPair.objects.filter(proposals_against=found)
    assert older.merged_into_id == found.sft_pair_id
    assert older.history.first().history_user == curator
    found.refresh_from_db()
    assert (found.status, found.decided_by) == ("accepted", curator)
    assert found.decided_at is not None


def test_preference_pairs_likewise(curator: User) -> None:
    newer, older = rows.preference_pair(), rows.preference_pair(chosen="Hi.")
    proposal(sft_pair=None, other_sft_pair=None, preference_pair=newer, other_preference_pair=older)
    assert accept(proposals=Proposal.objects.all(), user=curator) == 1
    older.refresh_from_db()
    assert older.merged_into_id == newer.pk


def test_dismissing_leaves_both_pairs(curator: User) -> None:
    found = proposal()
    assert dismiss(proposals=Proposal.objects.all(), user=curator) == 1
    assert not SftPair.objects.exclude(merged_into=None).exists()
    found.refresh_from_db()
    assert (found.status, found.decided_by) == ("dismissed", curator)


def test_what_is_decided_stays_decided(curator: User) -> None:
    proposal(status="dismissed")
    assert accept(proposals=Proposal.objects.all(), user=curator) == 0
    assert not SftPair.objects.exclude(merged_into=None).exists()


def test_a_newer_pair_that_was_rejected_meanwhile_stops_all_of_them(curator: User) -> None:
    good = proposal()
    bad = proposal(sft_pair=rows.sft_pair(response="Rex.", review_status="rejected"))
    with pytest.raises(UndecidableError, match=f"proposal {bad.pk}: got pair {bad.sft_pair_id}, which is rejected"):
        accept(proposals=Proposal.objects.all(), user=curator)
    good.refresh_from_db()
    assert good.status == "open"
    assert not SftPair.objects.exclude(merged_into=None).exists()


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_chain_is_accepted_in_whatever_order_it_was_proposed(newest_first: bool, curator: User) -> None:
    oldest, middle, newest = (rows.sft_pair(response=f"Pixel {number}.") for number in range(3))
    links = [(newest, middle), (middle, oldest)]
    for newer, older in links if newest_first else reversed(links):
        proposal(sft_pair=newer, other_sft_pair=older)
    assert accept(proposals=Proposal.objects.all(), user=curator) == 2
    merged = SftPair.objects.exclude(merged_into=None).order_by("pk").values_list("pk", "merged_into")
    assert list(merged) == [(oldest.pk, newest.pk), (middle.pk, newest.pk)]


def test_a_newer_pair_that_the_older_one_stands_for_is_refused(curator: User) -> None:
    older = rows.sft_pair(response="Pixel.")
    found = proposal(sft_pair=rows.sft_pair(response="Biscuit.", merged_into=older), other_sft_pair=older)
    with pytest.raises(UndecidableError, match=f"proposal {found.pk}: got pair {older.pk} to be merged into itself"):
        accept(proposals=Proposal.objects.all(), user=curator)


def test_what_is_reopened_can_be_decided_again(curator: User) -> None:
    found, waiting = proposal(), proposal()
    dismiss(proposals=Proposal.objects.filter(pk=found.pk), user=curator)
    assert reopen(proposals=Proposal.objects.all(), user=curator) == 1
    found.refresh_from_db()
    assert (found.status, found.decided_by, found.decided_at) == ("open", None, None)
    assert accept(proposals=Proposal.objects.all(), user=curator) == 2
    waiting.refresh_from_db()
    assert waiting.status == "accepted"


def test_who_decided_and_who_took_that_back_stays_on_record(curator: User, admin_client: Client) -> None:
    found, other = proposal(), User.objects.create(username="anna")
    accept(proposals=Proposal.objects.all(), user=other)
    reopen(proposals=Proposal.objects.all(), user=curator)
    dismiss(proposals=Proposal.objects.all(), user=curator)
    log = LogEntry.objects.filter(object_id=found.pk).order_by("pk").values_list("user__username", "change_message")
    assert list(log) == [("anna", "accepted"), ("curator", "reopened: was accepted by anna"), ("curator", "dismissed")]
    history = admin_client.get(reverse("admin:maintenance_proposal_history", args=[found.pk]))
    assert "reopened: was accepted by anna" in history.content.decode()
