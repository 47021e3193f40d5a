"""What a person does to pairs at the desk."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from memory import curation
from memory.models import PairEmbedding, PreferencePair, SftPair
from memory.text import content_hash, preference_hash
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}


def address(pair: SftPair | PreferencePair, page: str = "change") -> str:
    return reverse(f"admin:memory_{pair._meta.model_name}_{page}", args=[pair.pk])


def act(client: Client, action: str, *pairs: SftPair | PreferencePair) -> list[str]:
    """Run an action on some rows of a list; return what the desk says then."""
    response = client.post(
        reverse(f"admin:memory_{pairs[0]._meta.model_name}_changelist"),
        {"action": action, "_selected_action": [pair.pk for pair in pairs]},
        follow=True,
    )
    return [str(message).partition(" <a ")[0] for message in response.context["messages"]]


def seen(pair: SftPair | PreferencePair) -> str:
    return curation.state_of(type(pair)._default_manager.get(pk=pair.pk))


def sft_form(pair: SftPair, **changes: Any) -> dict[str, Any]:
    fields = ["instruction", "response", "review_status", "category", "confidence", "reward_intensity"]
    values = {name: getattr(pair, name) for name in [*fields, "sampling_weight"]}
    return {**values, "context": "[]", "seen": seen(pair), **changes}


def preference_form(pair: PreferencePair, **changes: Any) -> dict[str, Any]:
    values = {name: getattr(pair, name) for name in ["chosen", "rejected", "review_status", "confidence"]}
    return {
        **values,
        "seen": seen(pair),
        "sampling_weight": 1,
        "prompt": '[{"role": "user", "content": "Say hello."}]',
        **changes,
    }


class TestActions:
    @pytest.mark.parametrize(
        ("action", "before", "after", "words"),
        [
            ("approve", "pending", "approved", ("1 pair approved.", "2 pairs approved.")),
            ("reject", "approved", "rejected", ("1 pair rejected.", "2 pairs rejected.")),
            ("reopen", "rejected", "pending", ("1 pair put back to pending.", "2 pairs put back to pending.")),
        ],
    )
    def test_selected_pairs_are_reviewed_and_counted(
        self, action: str, before: str, after: str, words: tuple[str, str], admin_client: Client, admin_user: User
    ) -> None:
        first, second, third, other = [rows.sft_pair(review_status=before) for _ in range(4)]
        assert act(admin_client, action, first) == [words[0]]
        assert act(admin_client, action, second, third) == [words[1]]
        statuses = SftPair.objects.order_by("pk").values_list("review_status", flat=True)
        assert list(statuses) == [after, after, after, before]
        assert first.history.latest("history_id").history_user == admin_user
        assert not other.history.exists()

    def test_preference_pairs_are_reviewed_too(self, admin_client: Client) -> None:
        pair = rows.preference_pair()
        assert act(admin_client, "approve", pair) == ["1 pair approved."]
        pair.refresh_from_db()
        assert pair.review_status == "approved"

    def test_a_used_pair_is_offered_again_and_the_ledger_stays(self, admin_client: Client) -> None:
        used, unused = rows.sft_pair(**USED), rows.sft_pair()
        run = TrainingRun.objects.create(config_path="run.yaml", config={})
        PairUse.objects.create(run=run, sft_pair=used, step=1, epoch=2, weight=1.0, content_hash=used.content_hash)
        answer = admin_client.post(
            reverse("admin:memory_sftpair_bulk"),
            {"action": "reemit", "selected": [used.pk, unused.pk], "reason": "It did not stick.", "confirm": "yes"},
            follow=True,
        )
        assert "1 used pair re-emitted." in answer.content.decode()
        used.refresh_from_db()
        assert (used.is_used, used.training_epoch, used.used_timestamp) == (False, 2, USED["used_timestamp"])
        assert PairUse.objects.filter(sft_pair=used).count() == 1
        said = used.history.latest("history_id").history_change_reason
        assert said.endswith("re-emitted: It did not stick.")

    def test_a_reason_is_asked_for_before_a_pair_is_offered_again(self, admin_client: Client) -> None:
        used = rows.sft_pair(**USED)
        address = reverse("admin:memory_sftpair_changelist")
        asked = admin_client.post(address, {"action": "reemit", "_selected_action": [used.pk]})
        assert 'name="reason"' in asked.content.decode()
        silent = {"action": "reemit", "selected": [used.pk], "reason": " ", "confirm": "yes"}
        answer = admin_client.post(reverse("admin:memory_sftpair_bulk"), silent)
        assert answer.status_code == 400
        assert "reason: got nothing" in answer.content.decode()
        used.refresh_from_db()
        assert used.is_used

    def test_archived_pairs_are_taken_out_of_the_archive(self, admin_client: Client, admin_user: User) -> None:
        archived, other = rows.sft_pair(archived_at=USED["used_timestamp"]), rows.sft_pair()
        assert act(admin_client, "unarchive", archived, other) == ["1 pair taken out of the archive."]
        archived.refresh_from_db()
        assert archived.archived_at is None
        assert archived.history.latest("history_id").history_user == admin_user
        assert not other.history.exists()

    def test_a_list_has_a_badge_for_what_is_archived(self, admin_client: Client) -> None:
        rows.sft_pair(archived_at=USED["used_timestamp"])
        rows.sft_pair()
        page = admin_client.get(reverse("admin:memory_sftpair_changelist")).content.decode()
        cells = re.findall(r"field-shown_archive[^>]*>(.*?)</td>", page, re.DOTALL)
        assert ["archived" in cell for cell in cells] == [False, True]

    def test_pairs_that_a_search_found_can_be_reviewed(self, admin_client: Client) -> None:
        pair = rows.sft_pair(instruction="What is my cat called?")
        listed = reverse("admin:memory_sftpair_changelist")
        admin_client.post(f"{listed}?q=cat", {"action": "approve", "_selected_action": [pair.pk]})
        pair.refresh_from_db()
        assert pair.review_status == "approved"

    @pytest.mark.parametrize("action", ["approve", "reject", "reopen", "reemit", "unarchive"])
    def test_nothing_is_changed_by_looking(self, action: str, admin_client: Client) -> None:
        pair = rows.sft_pair(review_status="rejected", archived_at=USED["used_timestamp"], **USED)
        listed = reverse("admin:memory_sftpair_changelist")
        admin_client.get(f"{listed}?action={action}&_selected_action={pair.pk}")
        admin_client.get(f"{listed}{action}/")
        admin_client.get(f"{listed}{pair.pk}/{action}/")
        pair.refresh_from_db()
        assert (pair.review_status, pair.is_used, pair.archived_at) == ("rejected", True, USED["used_timestamp"])

    def test_who_may_only_look_has_no_action(self, client: Client) -> None:
        reader = User.objects.create(username="reader", is_staff=True)
        reader.user_permissions.add(Permission.objects.get(codename="view_sftpair"))
        client.force_login(reader)
        pair = rows.sft_pair()
        act(client, "approve", pair)
        pair.refresh_from_db()
        assert pair.review_status == "pending"


class TestEditing:
    def test_an_edited_text_has_a_new_hash(self, admin_client: Client) -> None:
        pair = rows.sft_pair()
        response = admin_client.post(address(pair), sft_form(pair, response="  Biscuit. "))
        assert response.status_code == 302
        pair.refresh_from_db()
        assert pair.response == "Biscuit."
        assert pair.content_hash == content_hash(pair.instruction, "Biscuit.")

    def test_an_edited_preference_has_a_new_hash(self, admin_client: Client) -> None:
        pair = rows.preference_pair()
        prompt = '[{"role": "user", "content": "Greet me."}]'
        response = admin_client.post(address(pair), preference_form(pair, chosen="Hi.", prompt=prompt))
        assert response.status_code == 302
        pair.refresh_from_db()
        assert pair.chosen == "Hi."
        assert pair.content_hash == preference_hash([{"role": "user", "content": "Greet me."}], "Hi.", pair.rejected)

    def test_the_text_before_the_first_edit_is_on_record(self, admin_client: Client, admin_user: User) -> None:
        pair = rows.sft_pair()
        admin_client.post(address(pair), sft_form(pair, response="Biscuit."))
        admin_client.post(address(pair), sft_form(pair, response="Crumb."))
        record = pair.history.order_by("history_id").values_list("history_type", "response", "history_user")
        assert list(record) == [
            ("+", "Pixel.", None),
            ("~", "Biscuit.", admin_user.pk),
            ("~", "Crumb.", admin_user.pk),
        ]

    def test_a_broken_rule_is_told_once_and_nothing_is_saved(self, admin_client: Client) -> None:
        pair = rows.sft_pair()
        response = admin_client.post(address(pair), sft_form(pair, response="Biscuit.", confidence="1.5"))
        assert response.context["adminform"].form.non_field_errors() == ["confidence: got 1.5, allowed 0 to 1"]
        pair.refresh_from_db()
        assert pair.response == "Pixel."
        assert not pair.history.exists()

    @pytest.mark.parametrize(("typed", "is_stored"), [("", True), (r'[{"role": "user", "content": "\ud800"}]', False)])
    def test_an_emptied_context_is_none_and_one_that_no_database_takes_is_refused(
        self, typed: str, is_stored: bool, admin_client: Client
    ) -> None:
        pair = rows.sft_pair(context=[{"role": "user", "content": "Hi"}])
        answer = admin_client.post(address(pair), sft_form(pair, context=typed))
        assert answer.status_code == (302 if is_stored else 200)
        pair.refresh_from_db()
        assert pair.context == ([] if is_stored else [{"role": "user", "content": "Hi"}])

    @pytest.mark.parametrize("prompt", ['"hello"', "[3]", '[{"role": "user"}]', "{}", "no json", ""])
    def test_a_broken_prompt_is_refused_at_the_desk(self, prompt: str, admin_client: Client) -> None:
        pair = rows.preference_pair()
        response = admin_client.post(address(pair), preference_form(pair, prompt=prompt))
        assert response.status_code == 200
        assert response.context["adminform"].form.errors

    def test_a_preference_that_is_stored_already_is_refused_at_the_desk(self, admin_client: Client) -> None:
        stored, other = rows.preference_pair(), rows.preference_pair(chosen="Hi.")
        response = admin_client.post(address(other), preference_form(other, chosen="Hello."))
        assert response.context["adminform"].form.non_field_errors() == [
            f"content: got the prompt and answers of preference pair {stored.pk}, allowed only new content"
        ]

    @pytest.mark.parametrize("make", [rows.sft_pair, rows.preference_pair])
    @pytest.mark.parametrize("changed_by", ["somebody", "a night"])
    def test_what_was_changed_since_the_page_was_opened_is_not_overwritten(
        self, changed_by: str, make: Any, admin_client: Client
    ) -> None:
        pair = make()
        stored, form = type(pair).objects.filter(pk=pair.pk), sft_form if make is rows.sft_pair else preference_form
        page = admin_client.get(address(pair)).content.decode()
        typed = form(pair, confidence="0.75")
        assert re.findall(r'name="seen" value="(\w+)"', page) == [typed["seen"]]
        if changed_by == "somebody":
            curation.reject(pairs=stored, user=None)
        else:
            stored.update(sampling_weight=0.5)
        before = stored.values().get()
        refused = admin_client.post(address(pair), typed).context["adminform"].form
        (line,) = refused.non_field_errors()
        name = "Memory pair" if make is rows.sft_pair else "Preference pair"
        assert line.startswith(f"{name} {pair.pk} was changed since you opened this page, so nothing was saved.")
        assert (refused["confidence"].value(), stored.values().get()) == ("0.75", before)
        assert admin_client.post(address(pair), {**typed, "seen": ""}).status_code == 200
        assert admin_client.post(address(pair), {**typed, "seen": seen(pair)}).status_code == 302
        assert stored.get().confidence == 0.75

    def test_what_the_machine_wrote_cannot_be_typed_over(self, admin_client: Client) -> None:
        pair = rows.sft_pair(loss=0.5, **USED)
        typed = {"is_used": "", "training_epoch": 9, "content_hash": "0" * 64, "source": "manual", "loss": 7}
        admin_client.post(address(pair), sft_form(pair, **typed))
        before = {name: getattr(pair, name) for name in [*typed, "used_timestamp", "created_at"]}
        pair.refresh_from_db()
        assert {name: getattr(pair, name) for name in before} == before

    def test_a_pair_that_a_person_adds_says_so(self, admin_client: Client, admin_user: User) -> None:
        form = {"instruction": "Who am I?", "response": "Maria.", "context": "[]", "confidence": 1}
        form |= {"reward_intensity": 1, "sampling_weight": 1, "category": "facts"}
        response = admin_client.post(reverse("admin:memory_sftpair_add"), form)
        assert response.status_code == 302
        pair = SftPair.objects.get()
        assert (pair.source, pair.content_hash) == ("manual", content_hash("Who am I?", "Maria."))
        assert pair.history.get().history_user == admin_user

    @pytest.mark.parametrize("make", [rows.sft_pair, rows.preference_pair])
    def test_a_record_of_the_history_is_read_and_not_written(self, make: Any, admin_client: Client) -> None:
        pair = make()
        act(admin_client, "approve", pair)
        as_stored = pair.history.earliest("history_id")
        page = reverse(f"admin:memory_{pair._meta.model_name}_simple_history", args=[pair.pk, as_stored.history_id])
        form = sft_form(pair, response="Biscuit.") if make is rows.sft_pair else preference_form(pair, chosen="Hi.")
        shown = admin_client.get(page).content.decode()
        assert ">approved<" not in shown
        assert [name for name in form if f'name="{name}"' in shown] == []
        assert "Revert" not in shown
        assert admin_client.post(page, form).status_code == 405
        del form["seen"]
        before = {name: getattr(pair, name) for name in form}
        pair.refresh_from_db()
        assert {name: getattr(pair, name) for name in form} == {**before, "review_status": "approved"}

    @pytest.mark.parametrize(
        ("changes", "kept"),
        [({"response": "Biscuit."}, 0), ({"reward_intensity": 1}, 1), ({"response": " Pixel. "}, 1)],
    )
    def test_the_vector_goes_with_the_text_that_it_is_of(
        self, changes: dict[str, Any], kept: int, admin_client: Client
    ) -> None:
        pair, other = rows.sft_pair(), rows.sft_pair()
        rows.embedding(pair)
        rows.embedding(other)
        admin_client.post(address(pair), sft_form(pair, **changes))
        assert PairEmbedding.objects.filter(sft_pair=pair).count() == kept
        assert PairEmbedding.objects.filter(sft_pair=other).exists()

    def test_the_vector_of_an_edited_preference_goes_too(self, admin_client: Client) -> None:
        pair = rows.preference_pair()
        PairEmbedding.objects.create(preference_pair=pair, embedder="tiny", dimension=2, vector=bytes(4))
        admin_client.post(address(pair), preference_form(pair, chosen="Hi."))
        assert not PairEmbedding.objects.exists()

    def test_the_history_page_shows_who_changed_what(self, admin_client: Client) -> None:
        pair = rows.sft_pair()
        act(admin_client, "approve", pair)
        shown = admin_client.get(address(pair, "history")).content.decode()
        assert "as first stored" in shown
        assert "approved" in shown

    @pytest.mark.parametrize("make", [rows.sft_pair, rows.preference_pair])
    def test_a_pair_is_rejected_never_deleted(self, make: Any, admin_client: Client) -> None:
        pair = make()
        assert admin_client.post(address(pair, "delete"), {"post": "yes"}).status_code == 403
        act(admin_client, "delete_selected", pair)
        assert type(pair).objects.filter(pk=pair.pk).exists()

    def test_a_preference_is_not_typed_in(self, admin_client: Client) -> None:
        assert admin_client.get(reverse("admin:memory_preferencepair_add")).status_code == 403
