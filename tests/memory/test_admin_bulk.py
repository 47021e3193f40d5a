"""Decisions on all rows of a filter: counted, confirmed, done in slices, undone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries

from memory import bulk_decisions, curation
from memory.bulk_decisions import advance, begin, preview, undo
from memory.models import BulkChange, BulkDecision, PreferencePair, SftPair
from tests.memory import rows
from tests.people import client_of, person

pytestmark = pytest.mark.django_db

BULK = "admin:memory_sftpair_bulk"
LIST = "admin:memory_sftpair_changelist"
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def post(client: Client, action: str, query: str = "", **form: Any) -> Any:
    return client.post(reverse(BULK), {"action": action, "query": query, **form})


def seen(page: Any) -> dict[str, Any]:
    """Return what the confirmation says of the rows that it counted."""
    counts = page.context["counts"]
    return {
        "confirm": "yes",
        "highest": counts.highest,
        "changing": counts.changing,
        "changing_sum": counts.changing_sum,
    }


def decide(client: Client, action: str, query: str = "", **form: Any) -> BulkDecision:
    assert post(client, action, query, **seen(post(client, action, query)), **form).status_code == 302
    return BulkDecision.objects.latest("pk")


def undone(client: Client, decision: BulkDecision) -> BulkDecision:
    assert client.post(reverse("admin:memory_bulk_undo", args=[decision.pk])).status_code == 303
    decision.refresh_from_db()
    return decision


def resumes(client: Client, decision: BulkDecision, **asked: Any) -> bool:
    page = client.get(reverse("admin:memory_bulkdecision_change", args=[decision.pk]), **asked)
    return 'hx-trigger="load' in page.content.decode()


def statuses() -> list[str]:
    return list(SftPair.objects.order_by("pk").values_list("review_status", flat=True))


class TestDeciding:
    def test_the_dry_run_counts_and_changes_nothing(self, admin_client: Client) -> None:
        for status, confidence in (("pending", 0.2), ("rejected", 0.3), ("approved", 0.4), ("pending", 0.9)):
            rows.sft_pair(review_status=status, confidence=confidence)
        response = post(admin_client, "approve", "confidence_to=0.5")
        assert (response.context["counts"].changing, response.context["counts"].left_alone) == (2, 1)
        assert "confidence to: 0.5" in response.content.decode()
        assert statuses() == ["pending", "rejected", "approved", "pending"]
        assert not BulkDecision.objects.exists()

    def test_a_confirmed_decision_changes_the_rows_of_the_filter_alone(
        self, admin_client: Client, admin_user: User
    ) -> None:
        for status, confidence in (("pending", 0.2), ("rejected", 0.3), ("approved", 0.4), ("pending", 0.9)):
            rows.sft_pair(review_status=status, confidence=confidence)
        decision = decide(admin_client, "approve", "confidence_to=0.5&p=2")
        assert statuses() == ["approved", "approved", "approved", "pending"]
        assert (decision.changed, decision.query, decision.decided_by) == (2, "confidence_to=0.5", admin_user)
        assert decision.finished_at is not None
        said = SftPair.objects.earliest("pk").history.latest("history_id")
        assert (said.history_change_reason, said.history_user) == (f"bulk {decision.pk}: approved", admin_user)

    @pytest.mark.parametrize(
        ("action", "before", "column", "after"),
        [
            ("reject", {}, "review_status", "rejected"),
            ("reopen", {"review_status": "rejected"}, "review_status", "pending"),
            ("reemit", USED, "is_used", False),
            ("unarchive", {"archived_at": LONG_AGO}, "archived_at", None),
        ],
    )
    def test_every_decision_is_made_and_undone(
        self, action: str, before: dict[str, Any], column: str, after: Any, admin_client: Client
    ) -> None:
        pair = rows.sft_pair(**before)
        was = getattr(pair, column)
        decision = decide(admin_client, action, reason="Because.")
        pair.refresh_from_db()
        assert getattr(pair, column) == after
        decision = undone(admin_client, decision)
        pair.refresh_from_db()
        assert getattr(pair, column) == was
        assert (decision.restored, decision.left_alone) == (1, 0)
        assert decision.undone_at is not None
        assert not BulkChange.objects.exists()

    def test_preference_pairs_are_decided_too(self, admin_client: Client) -> None:
        rows.preference_pair()
        address, form = reverse("admin:memory_preferencepair_bulk"), {"action": "reject", "query": ""}
        admin_client.post(address, {**form, **seen(admin_client.post(address, form))})
        assert PreferencePair.objects.get().review_status == "rejected"
        undone(admin_client, BulkDecision.objects.get())
        assert PreferencePair.objects.get().review_status == "pending"

    def test_nights_know_that_a_person_wanted_the_pair_back(self, admin_client: Client) -> None:
        pair = rows.sft_pair(archived_at=LONG_AGO)
        decide(admin_client, "unarchive")
        assert pair.history.latest("history_id").history_change_reason == curation.UNARCHIVED

    def test_the_reason_of_a_reemission_is_kept(self, admin_client: Client) -> None:
        pair = rows.sft_pair(**USED)
        decision = decide(admin_client, "reemit", reason=" The new  base model. ")
        assert decision.reason == "The new base model."
        said = pair.history.latest("history_id").history_change_reason
        assert said == f"bulk {decision.pk}: re-emitted: The new base model."

    def test_the_rows_that_a_search_found_are_decided(self, admin_client: Client) -> None:
        rows.sft_pair()
        rows.sft_pair(instruction="What is my cat called?")
        decide(admin_client, "reject", "q=cat")
        assert statuses() == ["pending", "rejected"]

    @pytest.mark.parametrize(
        ("form", "problem"),
        [
            (
                {"action": "delete"},
                "action: got &#x27;delete&#x27;, allowed approve, reject, reopen, reemit, unarchive",
            ),
            ({"action": "approve", "query": "confidence_to=x"}, "confidence: got &#x27;x&#x27;, allowed a number"),
            ({"action": "approve", "query": "nonsense=1"}, "allowed the filters of this list"),
            ({"action": "approve", "query": "is_used__exact=maybe"}, "allowed the filters of this list"),
            ({"action": "reemit", "reason": "x" * 61}, "reason: got 61 characters, allowed 60 or less"),
        ],
    )
    def test_nonsense_is_refused_with_one_line(self, form: dict[str, str], problem: str, admin_client: Client) -> None:
        rows.sft_pair(**USED)
        shown = {"confirm": "yes", "highest": 10**6, "changing": 1, "changing_sum": 1}
        response = admin_client.post(reverse(BULK), {"query": "", **shown, **form})
        assert response.status_code == 400
        assert problem in response.content.decode()
        assert statuses() == ["pending"]
        assert not BulkDecision.objects.exists()

    @pytest.mark.parametrize("key", ["x", "-1", "", "²", "9" * 30, "9" * 5000])
    def test_a_selection_that_cannot_be_read_is_refused_and_never_means_all_rows(
        self, key: str, admin_client: Client
    ) -> None:
        pair = rows.sft_pair()
        for response in (
            post(admin_client, "approve", confirm="yes", selected=[key]),
            admin_client.post(reverse(LIST), {"action": "approve", "_selected_action": [pair.pk, key]}),
        ):
            assert response.status_code == 400
            assert "allowed the numbers of rows" in response.content.decode()
        assert statuses() == ["pending"]

    @pytest.mark.parametrize("selected", [True, False])
    def test_an_action_of_the_list_never_reaches_further_than_the_selected_rows(
        self, selected: bool, admin_client: Client
    ) -> None:
        pair, _ = rows.sft_pair(), rows.sft_pair()
        form = {"action": "approve", "_selected_action": [pair.pk] if selected else [], "select_across": "1"}
        admin_client.post(reverse(LIST), form)
        assert statuses() == ["approved" if selected else "pending", "pending"]

    def test_a_search_that_the_list_refuses_does_not_mean_all_rows(self, admin_client: Client) -> None:
        rows.sft_pair()
        response = post(admin_client, "approve", "q=%00cat", confirm="yes")
        assert response.status_code == 400
        assert "allowed the filters of this list" in response.content.decode()
        assert statuses() == ["pending"]


class TestWhatWasSeen:
    QUERY = "review_status__exact=pending"

    def test_rows_that_came_after_the_count_are_left_for_another_decision(self, admin_client: Client) -> None:
        for _ in range(2):
            rows.sft_pair()
        counted = post(admin_client, "approve", self.QUERY)
        assert 'name="changing" value="2"' in counted.content.decode()
        rows.sft_pair()
        assert post(admin_client, "approve", self.QUERY, **seen(counted)).status_code == 302
        assert statuses() == ["approved", "approved", "pending"]
        assert BulkDecision.objects.get().changed == 2

    @pytest.mark.parametrize(("before", "after"), [("approved", "pending"), ("pending", "approved")])
    def test_a_count_that_is_not_true_any_more_is_shown_anew_before_anything_is_decided(
        self, before: str, after: str, admin_client: Client
    ) -> None:
        pair, _ = rows.sft_pair(review_status=before), rows.sft_pair()
        counted = seen(post(admin_client, "reject", self.QUERY))
        SftPair.objects.filter(pk=pair.pk).update(review_status=after)
        again = post(admin_client, "reject", self.QUERY, **counted)
        assert again.status_code == 409
        assert "Other pairs pass the filter than when you looked: nothing is decided yet." in again.content.decode()
        assert statuses() == [after, "pending"]
        assert not BulkDecision.objects.exists()
        assert post(admin_client, "reject", self.QUERY, **seen(again)).status_code == 302
        assert statuses() == ["rejected" if after == "pending" else "approved", "rejected"]

    def test_a_pair_that_took_the_place_of_another_is_noticed_though_their_count_is_the_same(
        self, admin_client: Client
    ) -> None:
        one, other, _ = rows.sft_pair(), rows.sft_pair(review_status="approved"), rows.sft_pair()
        counted = seen(post(admin_client, "reject", self.QUERY))
        SftPair.objects.filter(pk=one.pk).update(review_status="approved")
        SftPair.objects.filter(pk=other.pk).update(review_status="pending")
        assert post(admin_client, "reject", self.QUERY, **counted).status_code == 409
        assert statuses() == ["approved", "pending", "pending"]

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"changing": "1"},
            {"highest": "10", "changing": "1"},
            {"highest": "x", "changing": "1", "changing_sum": "1"},
            {"highest": "9" * 19, "changing": "-1", "changing_sum": "1"},
        ],
    )
    def test_nothing_is_decided_that_nobody_counted(self, form: dict[str, str], admin_client: Client) -> None:
        rows.sft_pair()
        assert post(admin_client, "approve", confirm="yes", **form).status_code == 409
        assert statuses() == ["pending"]

    def test_a_reason_that_was_typed_is_kept_where_the_count_is_shown_anew(self, admin_client: Client) -> None:
        rows.sft_pair(**USED)
        counted = seen(post(admin_client, "reemit"))
        SftPair.objects.update(is_used=False)
        rows.sft_pair(**USED)
        again = post(admin_client, "reemit", reason="The new base model.", **counted)
        assert 'value="The new base model."' in again.content.decode()


class TestSlices:
    def test_a_decision_goes_on_where_it_stopped(
        self, admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 2)
        for _ in range(5):
            rows.sft_pair()
        pairs = SftPair.objects.filter(review_status="pending")
        decision = begin(pairs=pairs, action="approve", user=admin_user, query="review_status__exact=pending")
        decision = advance(decision, pairs=pairs, seconds=0)
        assert statuses() == ["pending"] * 3 + ["approved"] * 2
        later = rows.sft_pair()
        page = admin_client.get(reverse("admin:memory_bulkdecision_change", args=[decision.pk])).content.decode()
        assert f'hx-post="{reverse("admin:memory_bulk_continue", args=[decision.pk])}"' in page
        admin_client.post(reverse("admin:memory_bulk_continue", args=[decision.pk]))
        decision.refresh_from_db()
        assert statuses() == ["approved"] * 5 + ["pending"]
        assert (decision.changed, decision.has_more) == (5, False)
        later.refresh_from_db()
        assert later.review_status == "pending"

    def test_pairs_that_somebody_brings_into_the_filter_before_their_slice_are_left_alone(
        self, admin_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 1)
        for status in ("rejected", "pending", "approved", "pending"):
            rows.sft_pair(review_status=status)
        pairs = SftPair.objects.filter(review_status="pending")
        decision = advance(begin(pairs=pairs, action="reject", user=admin_user), pairs=pairs, seconds=0)
        curation.reopen(pairs=SftPair.objects.filter(review_status="approved"), user=admin_user)
        decision = advance(decision, pairs=pairs)
        assert statuses() == ["rejected", "rejected", "pending", "rejected"]
        assert (decision.changed, decision.has_more) == (2, False)

    def test_an_unfinished_decision_goes_on_by_itself_for_its_author_alone(
        self, admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 1)
        for _ in range(3):
            rows.sft_pair()
        everything, curator = SftPair.objects.all(), person("curator", "change_sftpair")
        decision = advance(begin(pairs=everything, action="approve", user=admin_user), pairs=everything, seconds=0)
        assert (resumes(admin_client, decision), resumes(client_of(curator), decision)) == (True, False)
        page = client_of(curator).get(reverse("admin:memory_bulkdecision_change", args=[decision.pk]))
        assert "while its author has this page open" in page.content.decode()
        assert reverse("admin:memory_bulk_continue", args=[decision.pk]) in page.content.decode()
        # Who pressed the button there need not press it again for every slice.
        assert resumes(client_of(curator), decision, headers={"HX-Request": "true"})
        viewer = client_of(person("viewer", "view_bulkdecision"))
        assert not resumes(viewer, decision, headers={"HX-Request": "true"})
        decision = undo(decision, user=curator, seconds=0)
        assert decision.has_more
        assert (resumes(admin_client, decision), resumes(client_of(curator), decision)) == (False, True)

    def test_a_decision_whose_author_is_gone_goes_on_by_itself_for_nobody(
        self, admin_client: Client, admin_user: User
    ) -> None:
        rows.sft_pair()
        decision = begin(pairs=SftPair.objects.all(), action="approve", user=admin_user)
        BulkDecision.objects.update(decided_by=None)
        assert not resumes(admin_client, decision)

    @pytest.mark.parametrize("done", [0, 2])
    def test_a_decision_that_is_not_finished_can_be_stopped_and_undone(
        self, done: int, admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 2)
        for _ in range(3):
            rows.sft_pair()
        everything = SftPair.objects.all()
        decision = begin(pairs=everything, action="approve", user=admin_user)
        if done:
            decision = advance(decision, pairs=everything, seconds=0)
        assert (decision.changed, decision.has_more, decision.can_be_undone) == (done, True, True)
        page = admin_client.get(reverse("admin:memory_bulkdecision_change", args=[decision.pk])).content.decode()
        assert "Stop and undo" in page
        decision = undone(admin_client, decision)
        assert (decision.restored, decision.has_more, decision.can_be_undone) == (done, False, False)
        assert statuses() == ["pending"] * 3

    def test_undoing_goes_on_where_it_stopped(self, admin_user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 2)
        for _ in range(5):
            rows.sft_pair()
        decision = advance(
            begin(pairs=SftPair.objects.all(), action="approve", user=admin_user), pairs=SftPair.objects.all()
        )
        decision = undo(decision, user=admin_user, seconds=0)
        assert (decision.restored, decision.has_more) == (2, True)
        decision = undo(decision, user=admin_user)
        assert (decision.restored, decision.has_more) == (5, False)
        assert statuses() == ["pending"] * 5

    def test_what_is_being_undone_is_not_done_any_further(
        self, admin_client: Client, admin_user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_decisions, "SLICE_ROWS", 2)
        for _ in range(5):
            rows.sft_pair()
        everything = SftPair.objects.all()
        decision = advance(begin(pairs=everything, action="approve", user=admin_user), pairs=everything, seconds=0)
        undone(admin_client, decision)
        admin_client.post(reverse("admin:memory_bulk_continue", args=[decision.pk]))
        advance(decision, pairs=everything)
        assert statuses() == ["pending"] * 5

    def test_a_slice_takes_as_many_queries_whatever_its_size(
        self, admin_user: User, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(25):
            rows.sft_pair(review_status="rejected" if number % 2 else "pending")
        everything = SftPair.objects.all()
        decision = begin(pairs=everything, action="approve", user=admin_user)
        with django_assert_num_queries(18):
            decision = advance(decision, pairs=everything)
        with django_assert_num_queries(17):
            undo(decision, user=admin_user)


class TestUndoing:
    def test_rows_go_back_to_what_each_was(self, admin_client: Client) -> None:
        for status in ("pending", "rejected", "approved"):
            rows.sft_pair(review_status=status)
        decision = undone(admin_client, decide(admin_client, "approve"))
        assert statuses() == ["pending", "rejected", "approved"]
        assert (decision.restored, decision.left_alone) == (2, 0)

    def test_rows_that_anybody_changed_since_are_left_alone_and_counted(
        self, admin_client: Client, admin_user: User
    ) -> None:
        edited, reviewed_twice, untouched = (rows.sft_pair() for _ in range(3))
        decision = decide(admin_client, "approve")
        curation.edit(pair=edited, field="response", text="Biscuit.", user=admin_user)
        one = SftPair.objects.filter(pk=reviewed_twice.pk)
        curation.reject(pairs=one, user=admin_user)
        curation.approve(pairs=one, user=admin_user)
        decision = undone(admin_client, decision)
        assert statuses() == ["approved", "approved", "pending"]
        assert (decision.restored, decision.left_alone) == (1, 2)
        undoing, decided = untouched.history.all()[:2]
        assert undoing.history_change_reason == f"took back record {decided.history_id}: bulk {decision.pk}: approved"

    def test_a_pair_that_was_trained_again_since_stays_as_training_left_it(self, admin_client: Client) -> None:
        pair = rows.sft_pair(**USED)
        decision = decide(admin_client, "reemit", reason="Again.")
        SftPair.objects.mark_used([pair.pk], training_epoch=7)
        decision = undone(admin_client, decision)
        pair.refresh_from_db()
        assert (pair.is_used, pair.training_epoch) == (True, 7)
        assert (decision.restored, decision.left_alone) == (0, 1)

    @pytest.mark.parametrize("changed", [USED, {"archived_at": LONG_AGO}, {"response": "Biscuit."}])
    def test_a_pair_that_training_or_a_night_changed_since_is_left_alone_though_it_is_as_decided(
        self, changed: dict[str, Any], admin_client: Client
    ) -> None:
        pair, _ = rows.sft_pair(), rows.sft_pair()
        decision = decide(admin_client, "approve")
        SftPair.objects.filter(pk=pair.pk).update(**changed)
        decision = undone(admin_client, decision)
        assert statuses() == ["approved", "pending"]
        assert (decision.restored, decision.left_alone) == (1, 1)

    @pytest.mark.parametrize("forgotten", [True, False])
    def test_a_pair_that_was_trained_and_emitted_again_since_counts_as_unused(
        self, forgotten: bool, admin_client: Client
    ) -> None:
        rows.sft_pair(**USED)
        decision = decide(admin_client, "reemit", reason="Again.")
        # By a night, or by a run that was discarded.
        mark = {"used_timestamp": None, "training_epoch": None} if forgotten else {"training_epoch": 7}
        SftPair.objects.update(**mark)
        decision = undone(admin_client, decision)
        assert not SftPair.objects.get().is_used
        assert (decision.restored, decision.left_alone) == (0, 1)

    def test_a_pair_that_a_night_archived_again_stays_there(self, admin_client: Client) -> None:
        pair, again = rows.sft_pair(archived_at=LONG_AGO), datetime(2026, 6, 1, tzinfo=UTC)
        decision = decide(admin_client, "unarchive")
        SftPair.objects.filter(pk=pair.pk).update(archived_at=again)
        undone(admin_client, decision)
        pair.refresh_from_db()
        assert pair.archived_at == again

    def test_a_decision_is_undone_once(self, admin_client: Client) -> None:
        rows.sft_pair()
        decision = undone(admin_client, decide(admin_client, "approve"))
        SftPair.objects.update(review_status="approved")
        undone(admin_client, decision)
        assert statuses() == ["approved"]

    def test_selected_rows_are_undone_alike(self, admin_client: Client) -> None:
        pair, other = rows.sft_pair(review_status="rejected"), rows.sft_pair()
        admin_client.post(reverse(LIST), {"action": "approve", "_selected_action": [pair.pk]})
        assert statuses() == ["approved", "pending"]
        decision = BulkDecision.objects.get()
        assert decision.is_selection
        undone(admin_client, decision)
        assert statuses() == ["rejected", "pending"]
        assert not other.history.exists()


class TestPermissions:
    def test_nothing_is_decided_or_undone_by_looking(self, admin_client: Client) -> None:
        rows.sft_pair()
        decision = decide(admin_client, "approve")
        addresses = [
            reverse(BULK),
            reverse("admin:memory_bulk_undo", args=[decision.pk]),
            reverse("admin:memory_bulk_continue", args=[decision.pk]),
        ]
        form = {"action": "reject", "query": "", "confirm": "yes"}
        assert [admin_client.get(address, form).status_code for address in addresses] == [405] * 3
        assert statuses() == ["approved"]

    def test_who_may_only_look_decides_and_undoes_nothing(self, admin_client: Client) -> None:
        rows.sft_pair()
        decision = decide(admin_client, "approve")
        viewer = client_of(person("viewer", "view_sftpair", "view_bulkdecision", "change_preferencepair"))
        assert post(viewer, "reject", confirm="yes").status_code == 403
        assert viewer.post(reverse("admin:memory_bulk_undo", args=[decision.pk])).status_code == 403
        assert viewer.post(reverse("admin:memory_bulk_continue", args=[decision.pk])).status_code == 403
        page = viewer.get(reverse("admin:memory_bulkdecision_change", args=[decision.pk]))
        assert page.status_code == 200
        assert "/undo/" not in page.content.decode()
        assert statuses() == ["approved"]

    def test_who_may_change_pairs_sees_and_undoes_decisions(self, admin_client: Client) -> None:
        rows.sft_pair()
        decision = decide(admin_client, "approve")
        curator = client_of(person("curator", "change_sftpair"))
        assert curator.get(reverse("admin:memory_bulkdecision_changelist")).status_code == 200
        undone(curator, decision)
        assert statuses() == ["pending"]

    def test_nobody_and_forgeries_change_nothing(self, admin_user: User) -> None:
        rows.sft_pair()
        assert post(Client(), "approve", confirm="yes").status_code == 302
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(admin_user)
        assert post(forged, "approve", confirm="yes").status_code == 403
        assert statuses() == ["pending"]

    def test_a_decision_that_does_not_exist_is_not_found(self, admin_client: Client) -> None:
        assert admin_client.post(reverse("admin:memory_bulk_undo", args=[9])).status_code == 404


def test_a_preview_counts_what_is_as_wanted_already() -> None:
    for status in ("pending", "approved", "approved"):
        rows.sft_pair(review_status=status)
    found = preview(pairs=SftPair.objects.all(), action="approve")
    assert (found.matching, found.changing, found.left_alone) == (3, 1, 2)


def test_a_decision_on_no_rows_is_finished_at_once(admin_user: User) -> None:
    rows.sft_pair(review_status="approved")
    decision = begin(pairs=SftPair.objects.all(), action="approve", user=admin_user)
    assert not decision.has_more
    assert not decision.can_be_undone


def test_the_record_shows_hostile_words_as_words(admin_client: Client) -> None:
    rows.sft_pair(instruction="<script>alert(1)</script>", **USED)
    decision = decide(admin_client, "reemit", "q=<script>alert", reason="<script>alert(2)</script>")
    for page in ("changelist", "change"):
        address = reverse(f"admin:memory_bulkdecision_{page}", args=[decision.pk] if page == "change" else [])
        assert "<script>alert" not in admin_client.get(address).content.decode()
