"""Texts that a person corrects, and the preference that follows from it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import curation
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import keep_originals, record
from memory.models import PairEmbedding, PreferencePair, SftPair
from memory.text import content_hash, preference_hash
from tests.memory import rows

pytestmark = pytest.mark.django_db
SAID = datetime(2026, 4, 1, tzinfo=UTC)
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}
CONTEXT = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello."}]


@pytest.fixture
def curator() -> User:
    return User.objects.create(username="curator")


def edit(pair: SftPair | PreferencePair, text: str, user: User | None = None, field: str = "response") -> Any:
    return curation.edit(pair=pair, field=field, text=text, user=user)


def answers() -> list[tuple[str, str]]:
    return list(PreferencePair.objects.order_by("pk").values_list("chosen", "rejected"))


def test_an_edited_response_is_stored_approved_and_unused(curator: User) -> None:
    pair = rows.sft_pair(**USED)
    edited = edit(pair, "  Pixel, the collie. ", curator)
    assert (pair.response, pair.review_status, pair.is_used) == ("Pixel, the collie.", "approved", False)
    stored = SftPair.objects.get()
    assert (stored.response, stored.review_status) == ("Pixel, the collie.", "approved")
    assert stored.content_hash == content_hash(pair.instruction, "Pixel, the collie.")
    assert (stored.is_used, stored.used_timestamp, stored.training_epoch) == (False, USED["used_timestamp"], 2)
    assert set(edited.columns) == {"response", "review_status"}


def test_the_original_and_who_edited_it_are_on_record(curator: User) -> None:
    pair = rows.sft_pair()
    edit(pair, "Biscuit.", curator)
    history = SftPair.history.order_by("history_id")
    assert list(history.values_list("history_type", "history_change_reason", "history_user", "response")) == [
        ("+", "as first stored", None, "Pixel."),
        ("~", "edited response", curator.pk, "Biscuit."),
    ]


def test_the_edited_answer_is_preferred_over_the_original(curator: User) -> None:
    talk = rows.conversation()
    said = rows.message(talk, "m2")
    pair = rows.sft_pair(conversation=talk, assistant_message=said, context=CONTEXT, created_at=SAID)
    edited = edit(pair, "Biscuit.", curator)
    made = PreferencePair.objects.get()
    prompt = [*CONTEXT, {"role": "user", "content": "What is my dog called?"}]
    assert edited.preference == made.pk
    assert (made.prompt, made.chosen, made.rejected, made.source) == (prompt, "Biscuit.", "Pixel.", "edit")
    assert (made.margin, made.confidence, made.review_status, made.created_at) == (0.0, 0.9, "approved", SAID)
    assert (made.conversation, made.chosen_message, made.rejected_message) == (talk, None, said)
    assert made.content_hash == preference_hash(prompt, "Biscuit.", "Pixel.")
    first = made.history.get()
    assert (first.history_type, first.history_user) == ("+", curator)
    assert first.history_change_reason == f"made by an edit of memory pair {pair.pk}"


def test_of_several_edits_the_last_one_is_preferred_over_the_original() -> None:
    pair = rows.sft_pair()
    edit(pair, "Biscuit.")
    edit(pair, "Crumb.")
    assert answers() == [("Crumb.", "Pixel.")]
    edit(pair, "Pixel.")
    assert answers() == []


@pytest.mark.parametrize("change", [{**USED, "is_used": False}, {"confidence": 0.5}, {"review_status": "rejected"}])
def test_a_preference_that_was_used_or_changed_since_stays(change: dict[str, Any]) -> None:
    pair = rows.sft_pair()
    edit(pair, "Biscuit.")
    PreferencePair.objects.update(**change)
    edit(pair, "Crumb.")
    assert answers() == [("Biscuit.", "Pixel."), ("Crumb.", "Pixel.")]


def test_a_preference_that_somebody_decided_on_stays(curator: User) -> None:
    pair = rows.sft_pair()
    edit(pair, "Biscuit.")
    curation.reopen(pairs=PreferencePair.objects.all(), user=curator)
    curation.approve(pairs=PreferencePair.objects.all(), user=curator)
    edit(pair, "Pixel.")
    assert answers() == [("Biscuit.", "Pixel.")]


def test_a_preference_that_stands_for_others_stays() -> None:
    pair = rows.sft_pair()
    edit(pair, "Biscuit.")
    rows.preference_pair(merged_into=PreferencePair.objects.get())
    edit(pair, "Pixel.")
    assert ("Biscuit.", "Pixel.") in answers()


def test_a_preference_that_is_stored_already_is_neither_made_nor_taken_away() -> None:
    pair = rows.sft_pair()
    prompt = [{"role": "user", "content": "What is my dog called?"}]
    stored = rows.preference_pair(prompt=prompt, chosen="Biscuit.", rejected="Pixel.", source="import")
    assert edit(pair, "Biscuit.").preference is None
    edit(pair, "Pixel.")
    assert PreferencePair.objects.get() == stored
    assert not stored.history.exists()


@pytest.mark.parametrize("text", ["pixel", "“Pixel!”", "Pixel …"])
def test_the_same_words_are_no_preference(text: str) -> None:
    pair = rows.sft_pair()
    assert edit(pair, text).preference is None
    assert (SftPair.objects.get().response, answers()) == (text, [])


def test_introspection_has_no_place_in_the_reward_channel() -> None:
    edit(rows.sft_pair(source="introspection"), "Biscuit.")
    assert answers() == []


def test_the_original_is_what_extraction_stored_last() -> None:
    pair = rows.sft_pair()
    keep_originals(SftPair.objects.all())
    SftPair.objects.update(response="It is Pixel.")
    record(SftPair.objects.all(), kind="~", user=None, reason=BY_EXTRACTION)
    edit(pair, "Biscuit.")
    # Now it renews the scores alone, with the person's text in the record.
    SftPair.objects.update(reward_intensity=1.0)
    record(SftPair.objects.all(), kind="~", user=None, reason=BY_EXTRACTION)
    edit(pair, "Crumb.")
    assert answers() == [("Crumb.", "It is Pixel.")]


def test_an_edited_instruction_makes_no_preference() -> None:
    pair = rows.sft_pair()
    assert edit(pair, "What is my cat called?", field="instruction").preference is None
    assert pair.content_hash == content_hash("What is my cat called?", "Pixel.")
    assert (SftPair.history.latest("history_id").history_change_reason, answers()) == ("edited instruction", [])


def test_either_answer_of_a_preference_is_edited(curator: User) -> None:
    pair = rows.preference_pair(**USED)
    edit(pair, "Good day.", curator, "chosen")
    edit(pair, "Hi hi hi!", curator, "rejected")
    stored = PreferencePair.objects.get(pk=pair.pk)
    assert (stored.chosen, stored.rejected, stored.review_status) == ("Good day.", "Hi hi hi!", "approved")
    assert stored.is_used is False
    assert stored.content_hash == preference_hash(stored.prompt, "Good day.", "Hi hi hi!")
    assert list(stored.history.values_list("history_change_reason", flat=True))[:2] == [
        "edited rejected",
        "edited chosen",
    ]


def test_an_edited_chosen_answer_is_preferred_over_the_original(curator: User) -> None:
    talk = rows.conversation()
    best, worse = rows.message(talk, "m2"), rows.message(talk, "m3")
    pair = rows.preference_pair(conversation=talk, chosen_message=best, rejected_message=worse, created_at=SAID)
    edited = edit(pair, "Good day.", curator, "chosen")
    made = PreferencePair.objects.exclude(pk=pair.pk).get()
    assert edited.preference == made.pk
    assert (made.prompt, made.chosen, made.rejected, made.source) == (pair.prompt, "Good day.", "Hello.", "edit")
    assert (made.margin, made.confidence, made.review_status, made.created_at) == (0.0, 0.9, "approved", SAID)
    assert (made.conversation, made.chosen_message, made.rejected_message) == (talk, None, best)
    assert made.history.get().history_change_reason == f"made by an edit of preference pair {pair.pk}"
    curation.undo(pair=pair, user=curator)
    assert PreferencePair.objects.get() == pair


def test_an_edited_rejected_answer_makes_no_preference() -> None:
    assert edit(rows.preference_pair(), "Hi hi hi!", field="rejected").preference is None
    assert answers() == [("Hello.", "Hi hi hi!")]


def test_an_edited_answer_that_is_over_its_original_already_makes_no_other_preference() -> None:
    assert edit(rows.preference_pair(source="edit"), "Good day.", field="chosen").preference is None


def test_preferences_edited_alike_have_one_together_which_goes_with_the_last() -> None:
    pairs = [rows.preference_pair(rejected=text) for text in ("Hi hi hi!", "What?")]
    for pair in pairs:
        edit(pair, "Good day.", field="chosen")
    for pair, left in zip(pairs, (1, 0), strict=True):
        assert answers().count(("Good day.", "Hello.")) == 1
        curation.undo(pair=pair, user=None)
        assert answers().count(("Good day.", "Hello.")) == left


def test_swapped_answers_take_their_originals_along() -> None:
    pair = rows.preference_pair(chosen="Hello.", rejected="Hi hi hi!")
    curation.swap(pair=pair, user=None)
    edit(pair, "Hi!", field="chosen")
    assert answers() == [("Hi!", "Hello."), ("Hi!", "Hi hi hi!")]
    curation.swap(pair=pair, user=None)
    edit(pair, "Good day.", field="chosen")
    assert answers() == [("Good day.", "Hi!"), ("Hi!", "Hi hi hi!"), ("Good day.", "Hello.")]


@pytest.mark.parametrize("pair", [rows.sft_pair, rows.preference_pair])
def test_the_vector_goes_with_the_text(pair: Any) -> None:
    edited = pair()
    owner = {"sft_pair" if isinstance(edited, SftPair) else "preference_pair": edited}
    other = rows.embedding(rows.sft_pair())
    PairEmbedding.objects.create(**owner, embedder="tiny", dimension=2, vector=bytes(4))
    edit(edited, "Another one.", field="response" if isinstance(edited, SftPair) else "chosen")
    assert PairEmbedding.objects.get() == other


@pytest.mark.parametrize("stored", ["One.\nTwo.", "One.\r\nTwo.", "One.\rTwo."])
def test_line_breaks_as_a_browser_sends_them_are_no_edit(stored: str) -> None:
    pair = rows.sft_pair(response=stored, **USED)
    rows.embedding(pair)
    assert edit(pair, "One.\r\nTwo.\r\n") == curation.Edited(())
    pair.response, pair.category = "One.\r\nTwo.\r\n", "names"
    assert curation.save(pair=pair, user=None).columns == ("category",)
    found = SftPair.objects.get()
    assert (found.response, found.is_used, pair.response) == (stored, True, stored)
    assert (PairEmbedding.objects.count(), answers()) == (1, [])


def test_an_edit_has_the_line_breaks_of_texts() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    edit(pair, "One.\r\nTwo.")
    other.response = "One.\r\nTwo."
    curation.save(pair=other, user=None)
    assert set(SftPair.objects.values_list("response", flat=True)) == {"One.\nTwo."}


def test_the_same_text_is_no_edit() -> None:
    pair = rows.sft_pair(**USED)
    assert edit(pair, " Pixel. ") == curation.Edited(())
    assert SftPair.objects.get().review_status == "pending"
    assert not SftPair.history.exists()


@pytest.mark.parametrize(
    ("field", "text", "line"),
    [
        ("response", "x", "response: got 1 characters, allowed 2 or more"),
        ("response", " \u200b ", "response: got 0 characters, allowed 2 or more"),
        ("response", "a\0b", "response: got a NUL character, allowed text without"),
        ("chosen", "Biscuit.", "field: got 'chosen', allowed response, instruction"),
        ("review_status", "approved", "field: got 'review_status', allowed response, instruction"),
    ],
)
def test_nonsense_is_refused_in_one_line_and_changes_nothing(field: str, text: str, line: str) -> None:
    pair = rows.sft_pair()
    with pytest.raises(ValidationError) as refusal:
        edit(pair, text, field=field)
    assert refusal.value.messages == [line]
    assert SftPair.objects.get().response == pair.response == "Pixel."
    assert not SftPair.history.exists()


def test_a_preference_of_one_answer_twice_is_refused() -> None:
    pair = rows.preference_pair()
    with pytest.raises(ValidationError) as refusal:
        edit(pair, pair.rejected, field="chosen")
    assert refusal.value.messages == ["rejected: got the same text as chosen, allowed only another one"]


def test_a_preference_that_another_one_is_already_is_refused() -> None:
    stored, pair = rows.preference_pair(), rows.preference_pair(chosen="Good day.")
    with pytest.raises(ValidationError) as refusal:
        edit(pair, "Hello.", field="chosen")
    assert refusal.value.messages == [
        f"content: got the prompt and answers of preference pair {stored.pk}, allowed only new content"
    ]
    assert PreferencePair.objects.get(pk=pair.pk).chosen == "Good day."


def test_a_form_stores_what_people_may_type_and_nothing_else(curator: User) -> None:
    pair = rows.sft_pair(**USED)
    pair.response, pair.confidence, pair.training_epoch, pair.content_hash = "Biscuit.", 0.5, 9, "0" * 64
    edited = curation.save(pair=pair, user=curator)
    stored = SftPair.objects.get()
    assert (stored.response, stored.confidence, stored.training_epoch) == ("Biscuit.", 0.5, 2)
    assert (stored.review_status, stored.is_used) == ("pending", False)
    assert stored.content_hash == content_hash(pair.instruction, "Biscuit.")
    assert (set(edited.columns), answers()) == ({"response", "confidence"}, [("Biscuit.", "Pixel.")])
    assert pair.history.first().history_user == curator


def test_a_form_that_changes_a_score_alone_leaves_use_and_vector() -> None:
    pair = rows.sft_pair(**USED)
    rows.embedding(pair)
    pair.reward_intensity = 1.0
    assert curation.save(pair=pair, user=None).columns == ("reward_intensity",)
    assert SftPair.objects.get().is_used
    assert PairEmbedding.objects.exists()


def test_a_form_that_breaks_a_rule_stores_nothing() -> None:
    pair = rows.sft_pair()
    pair.confidence = 1.5
    with pytest.raises(ValidationError) as refusal:
        curation.save(pair=pair, user=None)
    assert refusal.value.messages == ["confidence: got 1.5, allowed 0 to 1"]
    assert not SftPair.history.exists()


def test_an_edit_takes_the_same_queries_whatever_the_history(curator: User) -> None:
    pair = rows.sft_pair()
    counts = []
    for number in range(6):
        with CaptureQueriesContext(connection) as captured:
            edit(pair, f"Biscuit {number}.", curator)
        counts.append(len(captured))
    assert len(set(counts[1:])) == 1
