"""Conversations at the desk: read as a tree, named, freed for training or not, deleted as a whole."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from memory.admin.conversations import SHOWN_MESSAGES
from memory.admin.reading import reading_order
from memory.models import Conversation, Message, PreferencePair, ReplayEntry, SftPair
from tests.memory import rows
from tests.memory.forms import send_form

pytestmark = pytest.mark.django_db


def address(row: Conversation | Message, page: str = "change") -> str:
    return reverse(f"admin:memory_{row._meta.model_name}_{page}", args=[row.pk])


def outline(messages: list[Message]) -> list[tuple[str, int, int, int]]:
    return [(turn.message.external_id, turn.aside, turn.draft, turn.drafts) for turn in reading_order(messages)]


class TestReadingOrder:
    def test_abandoned_drafts_stand_aside_before_the_branch_that_was_kept(self) -> None:
        talk = rows.conversation()
        question = rows.message(talk, "question", role="user")
        rows.message(talk, "kept", parent=question, branch_position=0)
        left = rows.message(talk, "left", parent=question, branch_position=1, is_active_branch=False)
        rows.message(talk, "after left", parent=left, role="user", is_active_branch=False)
        assert outline(list(talk.messages.all())) == [
            ("question", 0, 1, 1),
            ("left", 1, 2, 2),
            ("after left", 1, 1, 1),
            ("kept", 0, 1, 2),
        ]

    def test_a_thought_beside_an_answer_is_no_draft_of_it(self) -> None:
        talk = rows.conversation()
        question = rows.message(talk, "question", role="user")
        rows.message(talk, "thought", parent=question, kind="introspection")
        rows.message(talk, "answer", parent=question, branch_position=1)
        assert outline(list(talk.messages.all())) == [
            ("question", 0, 1, 1),
            ("thought", 0, 1, 1),
            ("answer", 0, 1, 1),
        ]

    def test_the_order_does_not_depend_on_the_order_of_the_rows(self) -> None:
        talk = rows.conversation()
        parent = None
        for number in range(6):
            parent = rows.message(talk, f"m{number}", parent=parent)
            rows.message(talk, f"d{number}", parent=parent.parent, branch_position=1, is_active_branch=False)
        forwards = list(talk.messages.all())
        assert outline(forwards) == outline(forwards[::-1])

    def test_a_chain_of_thousands_is_read_and_a_missing_parent_begins_a_tree(self) -> None:
        chain = [Message(pk=number, parent_id=number - 1, external_id=str(number)) for number in range(1, 5_001)]
        assert [turn.message.pk for turn in reading_order(chain)] == list(range(1, 5_001))


class TestPage:
    def test_the_messages_are_shown_with_what_is_known_of_them(self, admin_client: Client) -> None:
        talk = rows.conversation()
        question = rows.message(talk, "m1", role="user", content="What is my <b>dog</b> called?")
        rows.message(talk, "m2", parent=question, content="Pixel.", rating=1, model_name="tiny", original_content="?")
        rows.message(talk, "m3", parent=question, content="No idea.", branch_position=1, is_active_branch=False)
        shown = " ".join(admin_client.get(address(talk)).content.decode().split())
        assert "What is my &lt;b&gt;dog&lt;/b&gt; called?" in shown
        assert "<span>tiny</span> <span>draft 1 of 2</span> <span>thumb up</span> <span>edited</span>" in shown
        assert "draft 2 of 2, left behind" in shown
        assert shown.index("No idea.") < shown.index("Pixel.")

    def test_a_conversation_without_messages_says_so(self, admin_client: Client) -> None:
        shown = admin_client.get(address(rows.conversation())).content.decode()
        assert "Nothing: the conversation has no messages." in shown

    @pytest.mark.parametrize(("count", "is_cut"), [(SHOWN_MESSAGES, False), (SHOWN_MESSAGES + 1, True)])
    def test_a_very_long_conversation_is_cut_with_a_way_to_the_rest(
        self, count: int, is_cut: bool, admin_client: Client
    ) -> None:
        talk = rows.conversation()
        Message.objects.bulk_create(
            Message(conversation=talk, external_id=f"m{number}", role="user", content="Hi") for number in range(count)
        )
        shown = admin_client.get(address(talk)).content.decode()
        assert shown.count('<article class="desk-turn') == SHOWN_MESSAGES
        assert ("Only the first 500 messages are shown here." in shown) == is_cut
        rest = reverse("admin:memory_message_changelist") + f"?conversation__id__exact={talk.pk}"
        assert (rest in shown) == is_cut
        assert admin_client.get(rest).context["cl"].result_count == count

    def test_consent_that_is_withdrawn_keeps_its_pairs_out_of_training(self, admin_client: Client) -> None:
        talk = rows.conversation()
        rows.sft_pair(conversation=talk)
        assert SftPair.objects.trainable().count() == 1
        send_form(admin_client, address(talk), {"title": "The dog", "participant": "Maria"})
        talk.refresh_from_db()
        assert (talk.title, talk.participant, talk.training_allowed) == ("The dog", "Maria", False)
        assert SftPair.objects.trainable().count() == 0

    def test_consent_that_somebody_withdrew_since_the_page_was_opened_is_not_given_back(
        self, admin_client: Client
    ) -> None:
        talk = rows.conversation()
        seen = admin_client.get(address(talk)).context["adminform"].form.initial["seen"]
        Conversation.objects.update(training_allowed=False)
        typed = {"title": "The dog", "training_allowed": "on", "seen": seen}
        (line,) = admin_client.post(address(talk), typed).context["adminform"].form.non_field_errors()
        assert line.startswith(f"Conversation {talk.pk} was changed since you opened this page, so nothing was saved.")
        talk.refresh_from_db()
        assert (talk.title, talk.training_allowed) == ("", False)

    def test_what_extraction_and_an_import_note_of_it_hinders_nobody(self, admin_client: Client) -> None:
        talk = rows.conversation()
        seen = admin_client.get(address(talk)).context["adminform"].form.initial["seen"]
        Conversation.objects.update(extracted_as="v1", updated_at=datetime(2026, 5, 1, tzinfo=UTC))
        admin_client.post(address(talk), {"title": "The dog", "training_allowed": "on", "seen": seen})
        assert Conversation.objects.get().title == "The dog"

    def test_where_it_came_from_cannot_be_typed_over(self, admin_client: Client) -> None:
        talk = rows.conversation(metadata={"a": 1})
        send_form(admin_client, address(talk), {"source_system": "other", "external_id": "x", "metadata": "{}"})
        talk.refresh_from_db()
        assert (talk.source_system, talk.external_id, talk.metadata) == ("native", "c1", {"a": 1})


class TestDeletion:
    def test_a_conversation_goes_with_its_messages_and_leaves_its_pairs(self, admin_client: Client) -> None:
        talk = rows.conversation()
        pair = rows.sft_pair(conversation=talk, assistant_message=rows.message(talk))
        response = admin_client.post(address(talk, "delete"), {"post": "yes"})
        assert response.status_code == 302
        assert not Message.objects.exists()
        pair.refresh_from_db()
        assert (pair.conversation, pair.assistant_message) == (None, None)

    def test_consent_that_was_withdrawn_outlives_its_conversation(self, admin_client: Client) -> None:
        for name, training_allowed in (("with", True), ("without", False)):
            talk = rows.conversation(name, training_allowed=training_allowed)
            rows.sft_pair(conversation=talk)
            rows.preference_pair(conversation=talk, chosen=f"Hello, {name}.", review_status="approved")
            rows.replay_entry(message=rows.message(talk), response=name)
        selected = list(Conversation.objects.values_list("pk", flat=True))
        listed = reverse("admin:memory_conversation_changelist")
        form = {"action": "delete_selected", "_selected_action": selected}
        asked = " ".join(admin_client.post(listed, form).content.decode().split())
        assert asked.count("messages: 1") == 2
        assert asked.count("memory pairs that stay: 1; preference pairs: 1") == 2
        assert asked.count("replay entries: 1") == asked.count("all of them rejected, as there is no consent") == 1
        admin_client.post(listed, {**form, "post": "yes"})
        assert not Conversation.objects.exists()
        pair, preference = SftPair.objects.trainable().get(), PreferencePair.objects.trainable().get()
        assert (preference.chosen, ReplayEntry.objects.get().response) == ("Hello, with.", "with")
        for withheld in (SftPair.objects.exclude(pk=pair.pk).get(), PreferencePair.objects.earliest("-pk")):
            record = withheld.history.latest("history_id")
            assert (record.review_status, record.history_change_reason) == (
                "rejected",
                "conversation without consent deleted",
            )

    def test_a_conversation_that_is_one_long_chain_is_deleted(self, admin_client: Client) -> None:
        talk = rows.conversation()
        first = rows.message(talk).pk
        Message.objects.bulk_create(
            Message(pk=first + n, parent_id=first + n - 1, conversation=talk, external_id=f"n{n}", role="user")
            for n in range(1, 1_500)
        )
        assert "messages: 1500" in admin_client.get(address(talk, "delete")).content.decode()
        assert admin_client.post(address(talk, "delete"), {"post": "yes"}).status_code == 302
        assert not Message.objects.exists()

    def test_a_message_is_not_deleted_or_changed_by_itself(self, admin_client: Client) -> None:
        message = rows.message(rows.conversation())
        assert admin_client.post(address(message, "delete"), {"post": "yes"}).status_code == 403
        assert admin_client.post(address(message), {"content": "Other"}).status_code == 403
        assert admin_client.get(reverse("admin:memory_message_add")).status_code == 403

    def test_conversations_are_not_typed_in(self, admin_client: Client) -> None:
        assert admin_client.get(reverse("admin:memory_conversation_add")).status_code == 403
