"""What each decision of the review changes, and what it answers with."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from maintenance.models import Proposal
from memory import curation
from memory.bulk_decisions import decide_selected
from memory.curation import state_of
from memory.models import PreferencePair, SftPair
from tests.dualchannel_site.desk.review.people import CHANGE, VIEW, curator, person, viewer
from tests.memory import rows

pytestmark = pytest.mark.django_db

USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}


@pytest.fixture
def somebody() -> User:
    return curator()


@pytest.fixture
def desk(client: Client, somebody: User) -> Client:
    """A browser in which a curator is logged in."""
    client.force_login(somebody)
    return client


def channel_name(pair: SftPair | PreferencePair) -> str:
    return "memory" if isinstance(pair, SftPair) else "preference"


def decide(desk: Client, pair: SftPair | PreferencePair, decision: str, *, htmx: bool = True, **form: Any) -> Any:
    """Send a decision as the page does, on the pair as it is now unless `seen` says otherwise."""
    address = reverse("desk:decide", args=[channel_name(pair), pair.pk])
    pair.refresh_from_db()
    values = {"decision": decision, "seen": state_of(pair), **form}
    return desk.post(address, values, headers={"HX-Request": "true"} if htmx else {})


def undo(desk: Client, channel: str = "memory") -> Any:
    return desk.post(reverse("desk:undo", args=[channel]), headers={"HX-Request": "true"})


def shown(response: Any) -> int | None:
    card = response.context["card"]
    return None if card is None else card.pair.pk


def two_pairs(**fields: Any) -> tuple[SftPair, SftPair]:
    """Store a pair and the one that waits after it."""
    following = rows.sft_pair(response="Later.", reward_intensity=0.1)
    return rows.sft_pair(reward_intensity=0.9, **fields), following


def two_preferences(**fields: Any) -> tuple[PreferencePair, PreferencePair]:
    following = rows.preference_pair(chosen="Later.", margin=0.1)
    return rows.preference_pair(margin=0.9, **fields), following


class TestOneRequest:
    @pytest.mark.parametrize(("decision", "status"), [("approve", "approved"), ("reject", "rejected")])
    def test_decides_and_brings_the_next_pair(self, decision: str, status: str, desk: Client, somebody: User) -> None:
        pair, following = two_pairs()
        response = decide(desk, pair, decision)
        pair.refresh_from_db()
        assert pair.review_status == status
        assert pair.history.latest("history_id").history_user == somebody
        assert (response.status_code, shown(response)) == (200, following.pk)
        page = response.content.decode()
        assert page.lstrip().startswith('<article id="review-card"')
        assert f"Pair {pair.pk} {status}." in page
        assert response["HX-Push-Url"] == reverse("desk:review_pair", args=["memory", following.pk])

    def test_after_the_last_pair_nothing_waits(self, desk: Client) -> None:
        response = decide(desk, rows.sft_pair(), "approve")
        assert shown(response) is None
        assert "Nothing waits" in response.content.decode()
        assert response["HX-Push-Url"] == reverse("desk:review", args=["memory"])

    def test_without_javascript_it_leads_to_the_queue_with_a_message(self, desk: Client) -> None:
        pair, following = two_pairs()
        response = decide(desk, pair, "approve", htmx=False)
        assert (response.status_code, response["Location"]) == (302, reverse("desk:review", args=["memory"]))
        page = desk.get(response["Location"])
        assert shown(page) == following.pk
        assert [str(message) for message in page.context["messages"]] == [f"Pair {pair.pk} approved."]

    def test_a_preference_pair_likewise(self, desk: Client) -> None:
        pair, following = two_preferences()
        assert shown(decide(desk, pair, "reject")) == following.pk
        pair.refresh_from_db()
        assert pair.review_status == "rejected"


class TestSkipping:
    def test_a_skipped_pair_comes_back_when_asked_for(self, desk: Client) -> None:
        pair, following = two_pairs()
        assert shown(decide(desk, pair, "skip")) == following.pk
        response = decide(desk, following, "skip")
        assert shown(response) is None
        assert "Only skipped pairs are left." in response.content.decode()
        pair.refresh_from_db()
        assert (pair.review_status, pair.history.exists()) == ("pending", False)
        again = desk.post(reverse("desk:unskip", args=["memory"]), headers={"HX-Request": "true"})
        assert shown(again) == pair.pk

    def test_it_can_be_undone(self, desk: Client) -> None:
        pair, _following = two_pairs()
        decide(desk, pair, "skip")
        assert shown(undo(desk)) == pair.pk
        assert shown(desk.get(reverse("desk:review", args=["memory"]))) == pair.pk

    def test_of_a_pair_that_is_gone_the_next_one_is_shown(self, desk: Client) -> None:
        pair, following = two_pairs()
        decide(desk, pair, "skip")
        pair.delete()
        response = undo(desk)
        assert (response.status_code, shown(response)) == (200, following.pk)

    def test_what_is_not_there_cannot_be_skipped(self, desk: Client) -> None:
        address = reverse("desk:decide", args=["memory", 10**30])
        assert desk.post(address, {"decision": "skip"}).status_code == 404
        assert desk.get(reverse("desk:review", args=["memory"])).status_code == 200


class TestEditing:
    def test_a_corrected_response_is_stored_and_approved(self, desk: Client) -> None:
        pair, following = two_pairs()
        response = decide(desk, pair, "edit", field="response", text="Rex.")
        pair.refresh_from_db()
        assert (pair.response, pair.review_status) == ("Rex.", "approved")
        preference = PreferencePair.objects.get()
        assert (preference.chosen, preference.rejected) == ("Rex.", "Pixel.")
        assert shown(response) == following.pk
        assert f"preference pair {preference.pk}" in response.content.decode()

    @pytest.mark.parametrize("field", ["chosen", "rejected"])
    def test_either_answer_of_a_preference(self, field: str, desk: Client) -> None:
        pair, following = two_preferences()
        assert shown(decide(desk, pair, "edit", field=field, text="Good morning.")) == following.pk
        pair.refresh_from_db()
        assert getattr(pair, field) == "Good morning."

    @pytest.mark.parametrize("htmx", [True, False])
    @pytest.mark.parametrize(
        ("form", "words"),
        [
            ({"field": "response", "text": "x"}, "response: got 1 characters, allowed 2 or more"),
            ({"field": "response", "text": "Pixel."}, "response: got the text as it was, allowed another one"),
            ({"field": "loss", "text": "Rex."}, "field: got &#x27;loss&#x27;, allowed response, instruction"),
            ({}, "field: got &#x27;&#x27;, allowed response, instruction"),
        ],
    )
    def test_what_breaks_a_rule_is_told_and_what_was_typed_is_kept(
        self, form: dict[str, str], words: str, htmx: bool, desk: Client
    ) -> None:
        pair, _following = two_pairs()
        response = decide(desk, pair, "edit", htmx=htmx, **form)
        page = response.content.decode()
        assert (response.status_code, shown(response)) == (400, pair.pk)
        assert words in page
        if form.get("field") == "response":
            assert f"{form['text']}</textarea>" in page
        pair.refresh_from_db()
        assert pair.response == "Pixel."


class TestReemitting:
    def test_a_used_pair_is_offered_again_with_the_reason_on_record(self, desk: Client, somebody: User) -> None:
        pair, following = two_pairs(**USED)
        response = decide(desk, pair, "reemit", reason="forgotten since May")
        pair.refresh_from_db()
        record = pair.history.latest("history_id")
        assert (pair.is_used, pair.review_status, record.history_user) == (False, "pending", somebody)
        assert "forgotten since May" in record.history_change_reason
        assert shown(response) == following.pk

    def test_an_unused_one_cannot_be(self, desk: Client) -> None:
        pair, _following = two_pairs()
        response = decide(desk, pair, "reemit")
        assert (response.status_code, shown(response)) == (400, pair.pk)
        assert "only a used pair can be re-emitted" in response.content.decode()
        assert 'id="review-reason"' not in response.content.decode()


class TestMerging:
    def test_a_pair_goes_into_another(self, desk: Client) -> None:
        pair, other = two_pairs()
        response = decide(desk, pair, "merge", into=other.pk)
        pair.refresh_from_db()
        assert pair.merged_into_id == other.pk
        assert shown(response) == other.pk

    def test_another_goes_into_the_pair_which_waits_still(self, desk: Client) -> None:
        pair, other = two_pairs()
        response = decide(desk, pair, "absorb", other=other.pk)
        other.refresh_from_db()
        assert other.merged_into_id == pair.pk
        assert shown(response) == pair.pk
        undo(desk)
        other.refresh_from_db()
        assert other.merged_into_id is None

    @pytest.mark.parametrize("decision", ["merge", "absorb"])
    @pytest.mark.parametrize("typed", ["", "x", "-1", "0", "9" * 30, "1.5", "²", "7777"])
    def test_into_nothing_is_refused(self, typed: str, decision: str, desk: Client) -> None:
        pair, _following = two_pairs()
        name = "into" if decision == "merge" else "other"
        response = decide(desk, pair, decision, htmx=True, **{name: typed})
        assert response.status_code == 400
        assert f"{name}: got" in response.content.decode()

    def test_neither_into_itself_nor_into_what_is_rejected(self, desk: Client) -> None:
        pair, _following = two_pairs()
        rejected = rows.sft_pair(review_status="rejected")
        assert decide(desk, pair, "merge", into=pair.pk).status_code == 400
        response = decide(desk, pair, "merge", into=rejected.pk)
        assert response.status_code == 400
        assert f"got pair {rejected.pk}, which is rejected" in response.content.decode()


class TestPreferences:
    def test_answers_change_places(self, desk: Client) -> None:
        pair, following = two_preferences()
        chosen, rejected = pair.chosen, pair.rejected
        assert shown(decide(desk, pair, "swap")) == following.pk
        pair.refresh_from_db()
        assert (pair.chosen, pair.rejected) == (rejected, chosen)

    def test_a_tie_is_no_longer_trained(self, desk: Client) -> None:
        pair, following = two_preferences()
        assert shown(decide(desk, pair, "tie")) == following.pk
        assert list(PreferencePair.objects.trainable()) == [following]

    @pytest.mark.parametrize("decision", ["swap", "tie"])
    def test_memory_pairs_know_neither(self, decision: str, desk: Client) -> None:
        response = decide(desk, rows.sft_pair(), decision)
        assert response.status_code == 400
        assert f"decision: got &#x27;{decision}&#x27;, allowed approve, reject" in response.content.decode()


class TestProposals:
    @staticmethod
    def proposal() -> Proposal:
        older, newer = rows.sft_pair(response="Pixel."), rows.sft_pair(response="Rex.")
        return Proposal.objects.create(
            kind="correction", sft_pair=newer, other_sft_pair=older, similarity=0.9, reason="names"
        )

    @pytest.mark.parametrize(("decision", "status"), [("accept", "accepted"), ("dismiss", "dismissed")])
    def test_it_is_decided_from_the_newer_pair_and_undone(
        self, decision: str, status: str, desk: Client, somebody: User
    ) -> None:
        found = self.proposal()
        assert found.sft_pair is not None
        response = decide(desk, found.sft_pair, decision, proposal=found.pk)
        assert shown(response) == found.sft_pair_id
        found.refresh_from_db()
        merged = SftPair.objects.filter(merged_into=found.sft_pair).count()
        assert (found.status, found.decided_by, merged) == (status, somebody, int(decision == "accept"))
        undo(desk)
        found.refresh_from_db()
        assert (found.status, found.decided_by, found.decided_at) == ("open", None, None)
        assert not SftPair.objects.exclude(merged_into=None).exists()

    def test_one_about_a_pair_that_was_merged_already_is_undone_without_the_merge(self, desk: Client) -> None:
        found = self.proposal()
        older, newer = found.other_sft_pair, found.sft_pair
        assert older is not None
        assert newer is not None
        decide(desk, older, "merge", into=newer.pk)
        decide(desk, newer, "accept", proposal=found.pk)
        for status, survivor in (("open", newer.pk), ("open", None)):
            assert undo(desk).status_code == 200
            found.refresh_from_db()
            assert (found.status, state(older)["merged_into_id"]) == (status, survivor)

    @pytest.mark.parametrize("by_hand", [False, True])
    def test_it_is_open_again_where_the_merge_is_taken_back_on_the_page_of_the_older_pair(
        self, by_hand: bool, desk: Client
    ) -> None:
        found, dismissed = self.proposal(), self.proposal()
        older, newer = found.other_sft_pair, found.sft_pair
        assert older is not None
        assert newer is not None
        decide(desk, older, "approve")
        if by_hand:
            decide(desk, older, "merge", into=newer.pk)
        decide(desk, newer, "accept", proposal=found.pk)
        assert dismissed.sft_pair is not None
        decide(desk, dismissed.sft_pair, "dismiss", proposal=dismissed.pk)
        assert decide(desk, older, "undo").status_code == 200
        statuses = Proposal.objects.order_by("pk").values_list("status", flat=True)
        assert (list(statuses), state(older)["merged_into_id"]) == (["open", "dismissed"], None)
        undo(desk)
        if by_hand:
            undo(desk)
        assert f"Undone: Pair {older.pk} approved." in undo(desk).content.decode()

    def test_accepted_from_the_older_pair_the_next_one_follows(self, desk: Client) -> None:
        found = self.proposal()
        assert found.other_sft_pair is not None
        assert shown(decide(desk, found.other_sft_pair, "accept", proposal=found.pk)) == found.sft_pair_id

    @pytest.mark.parametrize("typed", ["", "x", "0", "9" * 30])
    def test_only_an_open_one_about_the_pair_is(self, typed: str, desk: Client) -> None:
        assert decide(desk, rows.sft_pair(), "accept", proposal=typed).status_code == 400

    def test_one_about_other_pairs_is_refused(self, desk: Client) -> None:
        assert decide(desk, rows.sft_pair(), "dismiss", proposal=self.proposal().pk).status_code == 400

    def test_it_needs_the_permission_for_proposals(self, client: Client) -> None:
        client.force_login(person("half", *VIEW, *CHANGE))
        found = self.proposal()
        assert found.sft_pair is not None
        assert 'value="accept"' not in decide(client, found.sft_pair, "undo").content.decode()
        assert decide(client, found.sft_pair, "accept", proposal=found.pk).status_code == 403
        found.refresh_from_db()
        assert found.status == "open"


class TestUndoing:
    @pytest.mark.parametrize(
        ("decision", "form"),
        [
            ("approve", {}),
            ("reject", {}),
            ("edit", {"field": "response", "text": "Rex."}),
            ("reemit", {"reason": "why not"}),
            ("merge", {"into": "other"}),
        ],
    )
    def test_each_decision_is_taken_back_and_the_pair_shown_again(
        self, decision: str, form: dict[str, Any], desk: Client
    ) -> None:
        pair, other = two_pairs(**USED)
        before = state(pair)
        form = {name: other.pk if value == "other" else value for name, value in form.items()}
        decide(desk, pair, decision, htmx=True, **form)
        assert state(pair) != before
        response = undo(desk)
        assert (response.status_code, shown(response)) == (200, pair.pk)
        assert state(pair) == before
        assert not PreferencePair.objects.exists()

    def test_one_after_the_other_the_last_one_first(self, desk: Client) -> None:
        first, second = two_pairs()
        decide(desk, first, "approve")
        decide(desk, second, "reject")
        assert [shown(undo(desk)), shown(undo(desk))] == [second.pk, first.pk]
        assert undo(desk).status_code == 409
        assert list(SftPair.objects.values_list("review_status", flat=True)) == ["pending", "pending"]

    def test_what_somebody_else_decided_since_stays(self, desk: Client) -> None:
        pair, _following = two_pairs()
        decide(desk, pair, "approve")
        curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=curator("other"))
        response = undo(desk)
        assert (response.status_code, shown(response)) == (409, pair.pk)
        assert "other" in response.content.decode()
        pair.refresh_from_db()
        assert pair.review_status == "rejected"

    def test_without_javascript_it_leads_to_the_pair(self, desk: Client) -> None:
        pair, _following = two_pairs()
        decide(desk, pair, "approve", htmx=False)
        response = desk.post(reverse("desk:undo", args=["memory"]))
        assert response["Location"] == reverse("desk:review_pair", args=["memory", pair.pk])

    def test_what_was_taken_back_on_the_page_is_not_undone_again(self, desk: Client) -> None:
        pair, _following = two_pairs()
        decide(desk, pair, "reject")
        decide(desk, pair, "approve")
        decide(desk, pair, "undo")
        assert f"Undone: Pair {pair.pk} rejected." in undo(desk).content.decode()
        assert state(pair)["review_status"] == "pending"
        assert undo(desk).status_code == 409

    def test_only_the_decision_that_it_names_is_undone(self, desk: Client, somebody: User) -> None:
        pair, _following = two_pairs()
        curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=somebody)
        decide(desk, pair, "approve")
        curation.undo(pair=pair, user=somebody)
        response = undo(desk)
        assert (response.status_code, shown(response)) == (409, pair.pk)
        assert f"pair {pair.pk}: that decision is taken back already" in response.content.decode()
        decide(desk, pair, "approve")
        curation.reopen(pairs=SftPair.objects.filter(pk=pair.pk), user=somebody)
        assert f"pair {pair.pk}: decided on again since (put back to pending)" in undo(desk).content.decode()
        assert state(pair)["review_status"] == "pending"

    def test_an_old_decision_is_taken_back_on_the_page_of_its_pair(self, desk: Client, somebody: User) -> None:
        pair, _following = two_pairs()
        curation.approve(pairs=SftPair.objects.filter(pk=pair.pk), user=somebody)
        response = decide(desk, pair, "undo")
        assert (response.status_code, shown(response)) == (200, pair.pk)
        assert decide(desk, pair, "undo").status_code == 409

    def test_taking_back_is_offered_only_where_it_can_be_done(self, desk: Client, somebody: User) -> None:
        def is_offered() -> bool:
            page = desk.get(reverse("desk:review_pair", args=["memory", pair.pk])).content.decode()
            return 'value="undo"' in page

        pair, _following = two_pairs()
        assert not is_offered()
        for _time in range(2):
            decide(desk, pair, "approve")
            assert is_offered()
            decide(desk, pair, "undo")
            assert not is_offered()
        curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=curator("other"))
        assert not is_offered()
        decide(desk, pair, "approve")
        assert is_offered()
        SftPair.objects.mark_used([pair.pk], training_epoch=1)
        assert not is_offered()

    def test_a_channel_has_its_own(self, desk: Client) -> None:
        decide(desk, rows.sft_pair(), "approve")
        assert undo(desk, "preference").status_code == 409


class TestTwoPeople:
    @pytest.mark.parametrize("decision", ["absorb", "merge", "accept", "dismiss"])
    def test_so_does_the_other_pair(self, decision: str, desk: Client) -> None:
        found = TestProposals.proposal()
        other, pair = found.other_sft_pair, found.sft_pair
        assert other is not None
        assert pair is not None
        (suggestion,) = desk.get(reverse("desk:review_pair", args=["memory", pair.pk])).context["card"].suggestions
        form = {"into": other.pk, "other": other.pk, "proposal": found.pk, "other_seen": suggestion.state}
        curation.edit(pair=other, field="response", text="Rex, since May.", user=curator("other"))
        response = decide(desk, pair, decision, htmx=True, **form)
        assert (response.status_code, shown(response)) == (409, pair.pk)
        assert f"Pair {other.pk} was changed since you saw it, so nothing was decided." in response.content.decode()
        found.refresh_from_db()
        assert (found.status, SftPair.objects.exclude(merged_into=None).exists()) == ("open", False)
        assert decide(desk, pair, decision, htmx=True, **{**form, "other_seen": state_of(other)}).status_code == 200

    @pytest.mark.parametrize("htmx", [True, False])
    def test_a_decision_on_what_was_changed_since_is_refused_with_the_pair_as_it_is(
        self, htmx: bool, desk: Client
    ) -> None:
        pair, _following = two_pairs()
        seen = state_of(pair)
        curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=curator("other"))
        response = decide(desk, pair, "approve", htmx=htmx, seen=seen)
        pair.refresh_from_db()
        assert (response.status_code, shown(response)) == (409, pair.pk)
        assert pair.review_status == "rejected"
        assert response.context["card"].state == state_of(pair)
        assert f"Pair {pair.pk} was changed since you saw it" in response.content.decode()

    @pytest.mark.parametrize("decision", ["approve", "reject"])
    def test_who_decides_the_same_as_somebody_before_goes_on_with_the_next_pair(
        self, decision: str, desk: Client
    ) -> None:
        pair, following = two_pairs()
        seen = state_of(pair)
        getattr(curation, decision)(pairs=SftPair.objects.filter(pk=pair.pk), user=curator("other"))
        response = decide(desk, pair, decision, seen=seen)
        assert (response.status_code, shown(response)) == (200, following.pk)
        pair.refresh_from_db()
        assert f"Pair {pair.pk} was {pair.review_status} meanwhile." in response.content.decode()
        assert pair.history.latest("history_id").history_user == User.objects.get(username="other")
        assert undo(desk).status_code == 409

    @pytest.mark.parametrize("reason", ["", "Because."])
    def test_so_does_who_decides_the_same_as_a_decision_for_many(self, reason: str, desk: Client) -> None:
        pair, following = two_pairs()
        seen = state_of(pair)
        pairs = SftPair.objects.filter(pk=pair.pk)
        decide_selected(pairs=pairs, action="approve", user=curator("other"), reason=reason)
        assert shown(decide(desk, pair, "approve", seen=seen)) == following.pk

    @pytest.mark.parametrize("by", ["swap", "edit", "save"])
    def test_a_pair_that_was_approved_with_other_words_is_shown_again(self, by: str, desk: Client) -> None:
        pair, other = rows.preference_pair(), curator("other")
        seen = state_of(pair)
        if by == "swap":
            curation.swap(pair=pair, user=other)
        elif by == "edit":
            curation.edit(pair=pair, field="chosen", text="Good day.", user=other)
        else:
            pair.chosen, pair.review_status = "Good day.", "approved"
            curation.save(pair=pair, user=other)
        response = decide(desk, pair, "approve", seen=seen)
        assert (response.status_code, shown(response)) == (409, pair.pk)

    def test_so_is_one_that_was_rejected_as_a_tie(self, desk: Client) -> None:
        pair = rows.preference_pair()
        seen = state_of(pair)
        curation.tie(pair=pair, user=curator("other"))
        assert decide(desk, pair, "reject", seen=seen).status_code == 409

    def test_who_was_refused_goes_on_by_skipping(self, desk: Client) -> None:
        pair, following = two_pairs()
        seen = state_of(pair)
        curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=curator("other"))
        refused = decide(desk, pair, "edit", seen=seen, field="response", text="Rex.")
        assert "Skip goes on to the next pair." in refused.content.decode()
        assert "Rex.</textarea>" in refused.content.decode()
        assert shown(decide(desk, pair, "skip")) == following.pk

    @pytest.mark.parametrize("column", ["merged_into", "archived_at", "sampling_weight", "content_hash"])
    def test_what_a_night_changed_counts_though_it_writes_no_history(self, column: str, desk: Client) -> None:
        pair, other = two_pairs()
        seen = state_of(pair)
        values = {"merged_into": other, "archived_at": USED["used_timestamp"], "sampling_weight": 0.5}
        SftPair.objects.filter(pk=pair.pk).update(**{column: values.get(column, "0" * 64)})
        assert decide(desk, pair, "approve", seen=seen).status_code == 409

    def test_training_that_uses_the_pair_does_not(self, desk: Client) -> None:
        pair, _following = two_pairs()
        seen = state_of(pair)
        SftPair.objects.mark_used([pair.pk], training_epoch=1)
        assert decide(desk, pair, "approve", seen=seen).status_code == 200

    def test_a_form_that_does_not_say_what_was_seen_decides_nothing(self, desk: Client) -> None:
        pair = rows.sft_pair()
        assert decide(desk, pair, "approve", seen="").status_code == 409


class TestWhoMayDecide:
    @pytest.mark.parametrize(
        "decision", ["approve", "reject", "skip", "edit", "reemit", "merge", "absorb", "accept", "dismiss", "undo"]
    )
    def test_not_who_may_only_look(self, decision: str, client: Client) -> None:
        client.force_login(viewer())
        pair = rows.sft_pair()
        form = {"field": "response", "text": "Rex.", "into": pair.pk}
        assert decide(client, pair, decision, htmx=True, **form).status_code == 403
        pair.refresh_from_db()
        assert (pair.review_status, pair.response, pair.history.exists()) == ("pending", "Pixel.", False)

    def test_not_who_may_change_the_other_channel_alone(self, client: Client) -> None:
        client.force_login(person("half", *VIEW, "change_preferencepair"))
        assert decide(client, rows.sft_pair(), "approve").status_code == 403
        assert decide(client, rows.preference_pair(), "approve").status_code == 200

    @pytest.mark.parametrize("name", ["undo", "unskip"])
    def test_nor_take_anything_back(self, name: str, client: Client) -> None:
        client.force_login(viewer())
        assert client.post(reverse(f"desk:{name}", args=["memory"])).status_code == 403

    def test_a_stranger_is_sent_to_the_login(self, client: Client) -> None:
        pair = rows.sft_pair()
        response = decide(client, pair, "approve")
        assert response["Location"].startswith(reverse("admin:login"))
        pair.refresh_from_db()
        assert pair.review_status == "pending"

    def test_a_form_of_another_site_is_refused(self, somebody: User) -> None:
        guarded = Client(enforce_csrf_checks=True)
        guarded.force_login(somebody)
        pair = rows.sft_pair()
        assert decide(guarded, pair, "approve").status_code == 403
        pair.refresh_from_db()
        assert pair.review_status == "pending"


@pytest.mark.parametrize("decision", ["", "delete", "__class__", "skip "])
def test_an_unknown_decision_is_refused(decision: str, desk: Client) -> None:
    response = decide(desk, rows.sft_pair(), decision)
    assert response.status_code == 400
    assert "allowed approve, reject" in response.content.decode()


def test_a_pair_that_is_not_there_is_not_found(desk: Client) -> None:
    other = rows.sft_pair().pk
    for key in (7777, 10**30):
        for form in ({"decision": "approve"}, {"decision": "merge", "into": other}, {"decision": "undo"}):
            response = desk.post(reverse("desk:decide", args=["memory", key]), {"seen": "x", **form})
            assert response.status_code == 404


def state(pair: SftPair) -> dict[str, Any]:
    """Return what a person sees of a pair, whatever its history."""
    names = ("response", "instruction", "review_status", "is_used", "merged_into_id", "archived_at", "content_hash")
    return dict(SftPair.objects.values(*names).get(pk=pair.pk))
