"""A conversation is extracted again after every change of it, and of what else decides what comes of it; not else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models
from django.test import Client
from django.urls import reverse

from memory.extraction import pipeline
from memory.extraction.pipeline import count_conversations, extract
from memory.extraction.request import ExtractionOptions, Selection
from memory.importing.run import import_paths
from memory.models import Conversation, Message, SftPair
from memory.switches import turn
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder, refuse_to_load
from tests.memory.extraction.talks import BEGIN, answer, asked, run
from tests.memory.forms import send_form

ON_POSTGRES = connection.vendor == "postgresql"


def waiting(**options: Any) -> list[str]:
    """Return the conversations that the next night would read."""
    how = ExtractionOptions(only_changed=True, **options)
    found = [talk.external_id for talk in Conversation.objects.order_by("external_id") if _waits(talk, how)]
    assert len(found) == count_conversations(Selection(), how)
    return found


def _waits(talk: Conversation, how: ExtractionOptions) -> bool:
    return count_conversations(Selection(conversation_id=talk.pk), how) == 1


def said(name: str, parent: str | None, role: str, content: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "parent": parent, "role": role, "content": content, **fields}


def exported(*more: dict[str, Any], day: int = 1, reply: str = "Pixel.", **fields: Any) -> dict[str, Any]:
    """Return the export of a conversation of one turn, in our own format."""
    turns = [said("u", None, "user", "What is my dog called?"), said("a", "u", "assistant", reply)]
    turns[1] |= fields.pop("rated", {})
    return {"id": "c1", "messages": [*turns, *more], "updated_at": f"2026-01-0{day}", **fields}


def bring(folder: Path, record: dict[str, Any]) -> None:
    path = folder / "export.json"
    path.write_text(json.dumps([record]))
    assert not import_paths([path]).is_damaged


@pytest.fixture
def extracted(tmp_path: Path) -> Message:
    """The answer of an imported conversation, that was extracted beside another one."""
    answer(asked("When is lunch?", "c2"), "Noon.")
    bring(tmp_path, exported())
    run(only_changed=True)
    assert waiting() == []
    return Message.objects.get(external_id="a", conversation__external_id="c1")


CHANGED: dict[str, dict[str, Any]] = {
    "a new turn": exported(said("v", "a", "user", "And my cat?"), said("b", "v", "assistant", "Minka.")),
    "a draft beside it": exported(said("b", "u", "assistant", "Biscuit."), day=2),
    "another branch": exported(rated={"active": False}, day=2),
    "an older export with a message more": {
        **exported(said("b", "u", "assistant", "Biscuit.")),
        "updated_at": "2025-01-01",
    },
    "an edited answer": exported(reply="Biscuit.", day=2),
    "a thumb up": exported(rated={"rating": 1}),
    "a logged reward": exported(rated={"reward_intensity": 0.25}),
    "consent withdrawn": exported(training_allowed=False, day=2),
}


@pytest.mark.django_db
@pytest.mark.parametrize("record", CHANGED.values(), ids=CHANGED.keys())
def test_an_import_that_brings_anything_lets_its_conversation_be_extracted_again(
    record: dict[str, Any], extracted: Message, tmp_path: Path
) -> None:
    bring(tmp_path, record)

    assert waiting() == ["c1"]
    assert run(FakeEmbedder(), only_changed=True).conversations == 1
    assert waiting() == []


@pytest.mark.django_db
def test_an_import_that_brings_nothing_to_extract_does_not(extracted: Message, tmp_path: Path) -> None:
    bring(tmp_path, exported())
    bring(tmp_path, exported(title="My dog", day=2))

    assert Conversation.objects.get(external_id="c1").title == "My dog"
    assert waiting() == []


@pytest.mark.django_db
def test_a_new_conversation_is_the_only_one_that_is_read(extracted: Message, tmp_path: Path) -> None:
    bring(tmp_path, {**exported(), "id": "c3"})

    assert waiting() == ["c3"]
    report = run(only_changed=True)
    assert (report.conversations, report.created) == (1, 1)


@pytest.mark.django_db
def test_a_rating_that_comes_apart_from_its_message_lets_it_be_extracted_again(
    extracted: Message, tmp_path: Path
) -> None:
    Conversation.objects.filter(pk=extracted.conversation_id).update(source_system="chatgpt")
    path = tmp_path / "feedback.json"
    path.write_text(json.dumps([{"conversation_id": "c1", "message_id": "a", "rating": "thumbsUp"}]))

    assert import_paths([path]).counts.updated == 1
    assert waiting() == ["c1"]
    run(only_changed=True)
    assert import_paths([path]).counts.already_present == 1
    assert waiting() == []


def save(message: Message) -> None:
    message.rating = 1
    message.save()


def bulk_update(message: Message) -> None:
    message.rating = 1
    Message.objects.bulk_update([message], ["rating"])


def draft(message: Message) -> dict[str, Any]:
    return {"conversation": message.conversation, "external_id": "b", "role": "assistant", "parent": message.parent}


WRITERS: dict[str, Callable[[Message], Any]] = {
    "save": save,
    "update": lambda message: Message.objects.filter(pk=message.pk).update(is_active_branch=False),
    "update of a related set": lambda message: message.conversation.messages.filter(external_id="a").update(rating=-1),
    "bulk_update": bulk_update,
    "create": lambda message: Message.objects.create(content="Biscuit.", **draft(message)),
    "get_or_create": lambda message: Message.objects.get_or_create(content="Biscuit.", **draft(message)),
    "bulk_create": lambda message: Message.objects.bulk_create([Message(content="Biscuit.", **draft(message))]),
    "delete": lambda message: message.delete(),
    "delete of a set": lambda message: Message.objects.filter(pk=message.pk).delete(),
    "delete of its parent": lambda message: Message.objects.get(children=message).delete(),
}


@pytest.mark.django_db
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_whatever_writes_a_message_lets_its_conversation_be_extracted_again(
    write: Callable[[Message], Any], extracted: Message
) -> None:
    write(extracted)

    assert waiting() == ["c1"]


@pytest.mark.django_db
@pytest.mark.parametrize("by_form", [True, False])
def test_consent_that_is_withdrawn_and_given_again_is_seen_each_time(
    by_form: bool, extracted: Message, admin_client: Client
) -> None:
    talk = extracted.conversation
    for allowed, created in ((False, 0), (True, 1)):
        if by_form:
            page = reverse("admin:memory_conversation_change", args=[talk.pk])
            answered = send_form(
                admin_client, page, {"title": "My dog", **({"training_allowed": "on"} if allowed else {})}
            )
            assert answered.status_code == 302
        else:
            Conversation.objects.filter(pk=talk.pk).update(training_allowed=allowed)
        SftPair.objects.filter(assistant_message=extracted).delete()

        assert waiting() == ["c1"]
        assert run(only_changed=True).created == created
        assert waiting() == []


@pytest.mark.django_db
def test_a_new_title_is_nothing_to_extract(extracted: Message, admin_client: Client) -> None:
    page = reverse("admin:memory_conversation_change", args=[extracted.conversation_id])

    assert send_form(admin_client, page, {"title": "My dog", "training_allowed": "on"}).status_code == 302
    assert waiting() == []


@pytest.mark.django_db
def test_a_conversation_that_is_saved_does_not_hide_a_change_since_it_was_read(extracted: Message) -> None:
    read_before = Conversation.objects.get(pk=extracted.conversation_id)
    Message.objects.filter(pk=extracted.pk).update(rating=1)
    read_before.title = "My dog"

    read_before.save()

    assert Conversation.objects.get(pk=read_before.pk).title == "My dog"
    assert waiting() == ["c1"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda: turn("INTROSPECTION_IN_SFT", on=True), {}),
        (lambda: turn("PREFER_KEPT_BRANCH", on=False), {}),
        (lambda: None, {"include_introspection": True}),
        (lambda: None, {"include_context": True}),
    ],
    ids=["introspection", "kept branch", "introspection once", "context"],
)
def test_after_a_change_of_what_is_asked_for_all_are_read_once(
    change: Callable[[], None], options: dict[str, Any], extracted: Message
) -> None:
    change()

    assert waiting(**options) == ["c1", "c2"]
    assert run(only_changed=True, **options).conversations == 2
    assert waiting(**options) == []


@pytest.mark.django_db
def test_after_a_change_of_the_rules_all_are_read_once(extracted: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "RULES", pipeline.RULES + 1)

    assert waiting() == ["c1", "c2"]


@pytest.mark.django_db
def test_the_longest_note_fits_its_column(extracted: Message) -> None:
    run(include_context=True, include_introspection=True)

    assert Conversation.objects.get(external_id="c1").extracted_as == "rules 1 context introspection kept_branch"


@pytest.mark.django_db
def test_whoever_asks_for_all_gets_all(extracted: Message) -> None:
    assert run().conversations == 2


@pytest.mark.django_db
def test_part_of_the_turns_is_not_the_whole_conversation() -> None:
    answer(asked(), "Pixel.")

    run(selection=Selection(since=BEGIN))
    assert waiting() == ["c1"]
    run(selection=Selection(conversation_id=Conversation.objects.get().pk))
    assert waiting() == []


@pytest.mark.django_db
def test_a_dry_run_notes_nothing() -> None:
    answer(asked(), "Pixel.")

    run(dry_run=True, only_changed=True)

    assert waiting() == ["c1"]


@pytest.mark.django_db
def test_one_that_dies_before_it_has_noted_what_it_read_has_stored_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(asked(), "Pixel.")

    def dying(*args: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr("memory.models.querysets.ConversationQuerySet.note_extracted", dying)
        run(only_changed=True)

    assert not SftPair.objects.exists()
    assert run(only_changed=True).created == 1


class Watching:
    """Imports a longer export while the extraction, which has read the conversation, is not done with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.importing = threading.Thread(target=self._bring)
        self.waited = False

    def created(self, model: type[models.Model], keys: Any) -> None:
        self.importing.start()
        self.importing.join(0.5)
        self.waited = self.importing.is_alive()

    def update(self, model: type[models.Model], columns: Any, rows: Any) -> None:
        raise NotImplementedError

    def _bring(self) -> None:
        bring(self.folder, CHANGED["a new turn"])
        connection.close()


@pytest.mark.skipif(not ON_POSTGRES, reason="on SQLite one writer waits for the other from the start")
@pytest.mark.django_db(transaction=True)
def test_what_comes_in_while_its_conversation_is_extracted_is_extracted_next_time(tmp_path: Path) -> None:
    bring(tmp_path, exported())
    watching = Watching(tmp_path)

    extract(Selection(), ExtractionOptions(only_changed=True), load=refuse_to_load, journal=watching)
    watching.importing.join()

    assert watching.waited
    assert waiting() == ["c1"]
    assert run(only_changed=True).created == 1


@pytest.mark.django_db
def test_a_conversation_that_others_store_without_a_note_is_extracted() -> None:
    rows.conversation("c1")

    assert waiting() == ["c1"]
