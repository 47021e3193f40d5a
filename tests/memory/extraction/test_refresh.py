"""Stored rows brought up to date with their messages."""

from typing import Any

import pytest
from django.utils import timezone

from memory.curation import approve, edit, undo
from memory.history import keep_originals, record
from memory.models import Message, PairEmbedding, PreferencePair, ReplayEntry, SftPair
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import answer, asked, rate, run, say

pytestmark = pytest.mark.django_db


def change(message: Message, **fields: Any) -> None:
    Message.objects.filter(pk=message.pk).update(**fields)


def test_stored_pairs_are_left_alone_by_default() -> None:
    said = answer(asked(), "Pixel.")
    run()
    change(said, content="It is Pixel.", reward_intensity=1.0)

    report = run()

    assert (report.existing, report.refreshed) == (1, 0)
    assert SftPair.objects.get().response == "Pixel."


def test_texts_and_scores_follow_the_message_while_usage_and_review_stay() -> None:
    said = answer(asked(), "Pixel.")
    run()
    approve(pairs=SftPair.objects.all(), user=None)
    SftPair.objects.mark_used([SftPair.objects.get().pk], training_epoch=3, used_timestamp=timezone.now())
    before = SftPair.objects.get()
    change(said, content="It is Pixel. ", reward_intensity=1.0, loss=0.5, is_active_branch=False)

    report = run(skip_existing=False)

    pair = SftPair.objects.get()
    assert (pair.response, pair.reward_intensity, pair.loss, pair.confidence) == ("It is Pixel.", 1.0, 0.5, 0.7)
    assert pair.content_hash != before.content_hash
    for kept in ("pk", "is_used", "used_timestamp", "training_epoch", "review_status", "created_at", "metadata"):
        assert getattr(pair, kept) == getattr(before, kept)
    assert (report.created, report.existing, report.refreshed) == (0, 1, 1)


def test_refreshing_again_changes_nothing() -> None:
    said = answer(asked(), "Pixel.")
    run()
    change(said, content="It is Pixel.")

    assert run(skip_existing=False).refreshed == 1
    assert run(skip_existing=False).refreshed == 0


def test_the_state_before_is_in_the_history() -> None:
    said = answer(asked(), "Pixel.")
    run()
    change(said, content="It is Pixel.")

    run(skip_existing=False)

    history = SftPair.history.order_by("history_id").values_list("history_type", "response")
    assert list(history) == [("+", "Pixel."), ("~", "It is Pixel.")]


def test_what_a_person_edited_keeps_its_text_and_gets_new_scores() -> None:
    said = answer(asked(), "Pixel.")
    run()
    pairs = SftPair.objects.all()
    keep_originals(pairs)
    pair = pairs.get()
    pair.response = "Pixel, the collie."
    pair.prepare()
    pair.save_base(raw=True)
    record(pairs, kind="~", user=None, reason="edited")
    change(said, content="It is Pixel.", reward_intensity=1.0)

    run(skip_existing=False)

    pair = SftPair.objects.get()
    assert (pair.response, pair.reward_intensity) == ("Pixel, the collie.", 1.0)


def test_what_a_person_edited_keeps_its_text_however_often_its_scores_are_renewed() -> None:
    said = answer(asked(), "Pixel.")
    run()
    edit(pair=SftPair.objects.get(), field="response", text="Pixel, the collie.", user=None)
    for reward in (1.0, 0.75, 0.25):
        change(said, content="It is Pixel.", reward_intensity=reward)
        run(skip_existing=False)

    pair = SftPair.objects.get()
    assert (pair.response, pair.reward_intensity) == ("Pixel, the collie.", 0.25)


def test_an_edit_that_was_taken_back_is_renewed_again() -> None:
    said = answer(asked(), "Pixel.")
    run()
    pair = SftPair.objects.get()
    edit(pair=pair, field="response", text="Pixel, the collie.", user=None)
    undo(pair=pair, user=None)
    change(said, content="It is Pixel.")

    run(skip_existing=False)

    assert SftPair.objects.get().response == "It is Pixel."


def test_an_approval_is_no_edit() -> None:
    said = answer(asked(), "Pixel.")
    run()
    approve(pairs=SftPair.objects.all(), user=None)
    change(said, content="It is Pixel.")

    run(skip_existing=False)

    assert SftPair.objects.get().response == "It is Pixel."


def test_the_vector_of_a_text_that_changed_is_dropped() -> None:
    user = asked()
    renewed = answer(user, "Pixel.")
    answer(say(user.conversation, "user", "And my cat?", renewed), "Biscuit.")
    run()
    for pair in SftPair.objects.all():
        rows.embedding(pair)
    change(renewed, content="It is Pixel.")

    run(skip_existing=False)

    assert [each.sft_pair.response for each in PairEmbedding.objects.all() if each.sft_pair] == ["Biscuit."]


def test_a_message_that_became_too_short_leaves_its_pair_alone() -> None:
    said = answer(asked(), "Pixel.")
    run()
    change(said, content="")

    report = run(skip_existing=False)

    assert (report.refreshed, SftPair.objects.get().response) == (0, "Pixel.")


def test_context_is_renewed_only_when_asked_for() -> None:
    first = asked("Hello.")
    answer(say(first.conversation, "user", "My dog?", answer(first, "Hi!")), "Pixel.")
    run(include_context=True)

    assert run(skip_existing=False).refreshed == 0
    assert len(SftPair.objects.get(response="Pixel.").context) == 2


def test_a_rating_that_came_later_turns_a_preference_around() -> None:
    user = asked()
    one = rate(user, "It is Pixel.", 0.75)
    other = rate(user, "I cannot know that.", 0.25)
    run(FakeEmbedder())
    change(one, reward_intensity=0.0, rating=-1)
    change(other, reward_intensity=1.0, rating=1)

    report = run(FakeEmbedder(), skip_existing=False)

    pair = PreferencePair.objects.get()
    assert (pair.chosen_message, pair.rejected_message) == (other, one)
    assert (pair.chosen, pair.margin, pair.confidence) == ("I cannot know that.", 1.0, 1.0)
    assert (report.preference_pairs_created, report.refreshed) == (0, 3)


def test_a_preference_that_would_become_another_stored_one_is_left_alone() -> None:
    for name in ("c1", "c2"):
        user = asked(name=name)
        rate(user, f"It is {name}.", 1.0)
        rate(user, "I cannot know that.", 0.0)
    run(FakeEmbedder())
    change(Message.objects.get(content="It is c2."), content="It is c1.")

    run(FakeEmbedder(), skip_existing=False)

    assert set(PreferencePair.objects.filter(source="rating").values_list("chosen", flat=True)) == {
        "It is c1.",
        "It is c2.",
    }


def test_replay_entries_follow_their_messages() -> None:
    said = rate(asked(), "Pixel.", 0.25)
    run()
    change(said, reward_intensity=1.0)

    run()
    assert ReplayEntry.objects.get().reward_intensity == 0.25
    run(skip_existing=False)
    assert ReplayEntry.objects.get().reward_intensity == 1.0
