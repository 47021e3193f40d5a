"""Extraction from stored conversations: memory pairs, preference pairs, replay entries."""

from datetime import timedelta
from typing import Any

import pytest
from constance import config
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.extraction.batch import COLLAPSED
from memory.extraction.pipeline import extract
from memory.extraction.request import ExtractionOptions, Selection
from memory.models import PreferencePair, ReplayEntry, SftPair
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import BEGIN, answer, asked, rate, run, say, stored, think

pytestmark = pytest.mark.django_db


def responses() -> set[str]:
    return set(SftPair.objects.values_list("response", flat=True))


def preferences() -> set[tuple[str, str, str]]:
    return set(PreferencePair.objects.values_list("source", "chosen", "rejected"))


def test_an_answer_becomes_a_memory_pair_with_its_scores_and_its_messages() -> None:
    user = asked("  What is my dog called? ")
    said = answer(user, "Pixel.\n", reward_intensity=0.75, loss=1.25)

    report = run()

    pair = SftPair.objects.get()
    assert (pair.instruction, pair.response, pair.context) == ("What is my dog called?", "Pixel.", [])
    assert (pair.user_message, pair.assistant_message, pair.conversation) == (user, said, user.conversation)
    assert (pair.source, pair.category, pair.confidence, pair.sampling_weight) == ("conversation", "", 1.0, 1.0)
    assert (pair.reward_intensity, pair.loss, pair.created_at) == (0.75, 1.25, said.created_at)
    assert (pair.is_used, pair.review_status, pair.metadata) == (False, "pending", {})
    assert (report.conversations, report.assistant_turns, report.created, report.existing) == (1, 1, 1, 0)
    assert report.dropped == {}


def test_a_pair_from_extraction_breaks_no_rule_of_the_model() -> None:
    answer(asked(), "Pixel.")
    think(asked(name="c2"), "They like short answers.")

    run(include_introspection=True)

    assert SftPair.objects.count() == 2
    for pair in SftPair.objects.all():
        stored_hash = pair.content_hash
        pair.clean()
        assert pair.content_hash == stored_hash


def test_the_second_run_creates_nothing() -> None:
    user = asked()
    rate(user, "Pixel.", 1.0)
    rate(user, "Biscuit.", 0.0)
    think(user, "They have a dog.")
    embedder = FakeEmbedder()

    first = run(embedder, include_introspection=True)
    before = stored()
    second = run(embedder, include_introspection=True)

    assert (first.created, first.preference_pairs_created, first.replay_entries_created) == (3, 1, 3)
    assert (second.created, second.preference_pairs_created, second.replay_entries_created) == (0, 0, 0)
    assert second.existing == 3
    assert stored() == before


def test_a_conversation_without_consent_gives_nothing_at_all() -> None:
    user = asked(training_allowed=False)
    rate(user, "Pixel.", 1.0)
    rate(user, "Biscuit.", 0.0)
    think(user, "They have a dog.")

    report = run(include_introspection=True)

    assert stored() == {"sft": [], "preference": [], "replay": []}
    assert (report.conversations, report.assistant_turns, report.dropped) == (1, 2, {"no_consent": 2})


def test_what_is_too_short_or_unasked_is_dropped_by_name() -> None:
    blank = asked("\u200b")
    answer(blank, "You said nothing.")
    answer(asked(name="c2"), " \u200b")
    say(rows.conversation("c3"), "assistant", "Welcome!")

    report = run()

    assert report.dropped == {"instruction_too_short": 1, "response_too_short": 1, "no_instruction": 1}
    assert (report.assistant_turns, report.created) == (3, 0)


def test_single_answers_never_load_the_embedder() -> None:
    for number in range(3):
        answer(asked(name=f"c{number}"), "Pixel.")

    assert run().created == 3


def test_exact_duplicates_collapse_without_the_embedder() -> None:
    user = asked()
    answer(user, "Pixel.")
    answer(user, "pixel.  ", reward_intensity=0.9)

    report = run()

    assert (responses(), report.dropped) == ({"pixel."}, {"exact_duplicate_draft": 1})


def test_similar_drafts_collapse_to_the_highest_reward() -> None:
    user = asked()
    rate(user, "It is Pixel.", 0.4)
    best = rate(user, "Your dog is Pixel.", 0.9)
    other = answer(user, "I do not know.")

    report = run(FakeEmbedder({"It is Pixel.": 0, "Your dog is Pixel.": 20}))

    assert responses() == {best.content, other.content}
    assert report.dropped == {"similar_draft": 1, "preference_near_identical": 1}


def test_the_survivor_says_what_it_stands_for() -> None:
    user = asked()
    lost = answer(user, "it is pixel")
    twin = answer(user, "It is  Pixel")
    answer(user, "your dog is pixel", reward_intensity=0.9)

    run(FakeEmbedder({"it is pixel": 0, "It is  Pixel": 0, "your dog is pixel": 20}))

    entries = SftPair.objects.get().metadata[COLLAPSED]
    assert sorted(entries, key=lambda entry: entry["message"]) == [
        {"message": lost.pk, "reason": "exact_duplicate", "similarity": 0.9397},
        {"message": twin.pk, "reason": "similar", "similarity": 0.9397},
    ]


def test_a_collapsed_draft_never_comes_back() -> None:
    user = asked()
    answer(user, "It is Pixel.")
    answer(user, "Your dog is Pixel.")
    run(FakeEmbedder({"It is Pixel.": 0, "Your dog is Pixel.": 20}))
    before = stored()

    # Another embedder finds them unlike; what was decided stays decided.
    second = run(FakeEmbedder())

    assert stored()["sft"] == before["sft"]
    assert (second.created, second.existing, second.dropped["similar_draft"]) == (0, 1, 1)


def test_a_better_draft_that_comes_later_is_dropped_against_the_stored_pair() -> None:
    user = asked()
    answer(user, "It is Pixel.")
    run()
    late = rate(user, "Your dog is Pixel.", 1.0)
    embedder = FakeEmbedder({"It is Pixel.": 0, "Your dog is Pixel.": 20})

    report = run(embedder)

    assert responses() == {"It is Pixel."}
    assert (report.created, report.existing, report.dropped["similar_draft"]) == (0, 1, 1)
    assert [entry["message"] for entry in SftPair.objects.get().metadata[COLLAPSED]] == [late.pk]


def test_a_different_draft_that_comes_later_is_added() -> None:
    user = asked()
    answer(user, "It is Pixel.")
    run()
    answer(user, "I cannot know that.")

    assert run(FakeEmbedder()).created == 1
    assert responses() == {"It is Pixel.", "I cannot know that."}


def test_a_draft_that_was_left_behind_is_less_sure() -> None:
    user = asked()
    answer(user, "It is Pixel.", is_active_branch=False)
    answer(user, "I cannot know that.")

    run(FakeEmbedder())

    assert dict(SftPair.objects.values_list("response", "confidence")) == {
        "It is Pixel.": 0.7,
        "I cannot know that.": 1.0,
    }


def test_context_is_kept_only_when_asked_for() -> None:
    first = asked("Hello.")
    second = say(first.conversation, "user", "What is my dog called?", answer(first, "Hi!"))
    answer(second, "Pixel.")
    run(include_context=True)

    contexts = dict(SftPair.objects.values_list("response", "context"))
    assert contexts == {
        "Hi!": [],
        "Pixel.": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi!"}],
    }


def test_rated_drafts_become_a_preference_pair() -> None:
    user = asked()
    best = rate(user, "It is Pixel.", 1.0, rating=1)
    worst = rate(user, "It is Biscuit.", 0.0, rating=-1)

    report = run(FakeEmbedder())

    pair = PreferencePair.objects.get()
    assert (pair.source, pair.chosen, pair.rejected) == ("rating", "It is Pixel.", "It is Biscuit.")
    assert (pair.chosen_message, pair.rejected_message, pair.conversation) == (best, worst, user.conversation)
    assert (pair.margin, pair.confidence) == (1.0, 1.0)
    assert pair.prompt == [{"role": "user", "content": "What is my dog called?"}]
    assert report.preference_pairs_created == 1


def test_drafts_that_differ_in_a_name_are_preferred_though_they_are_alike() -> None:
    user = asked()
    rate(user, "It is Pixel.", 1.0)
    rate(user, "It is Biscuit.", 0.0)

    run(FakeEmbedder({"It is Pixel.": 0, "It is Biscuit.": 5}))

    assert responses() == {"It is Pixel."}
    assert preferences() == {("rating", "It is Pixel.", "It is Biscuit.")}


def test_the_kept_branch_is_preferred_while_the_switch_is_on() -> None:
    user = asked()
    answer(user, "It is Pixel.", is_active_branch=False)
    answer(user, "I cannot know that.")

    config.PREFER_KEPT_BRANCH = False
    assert run(FakeEmbedder()).preference_pairs_created == 0
    config.PREFER_KEPT_BRANCH = True
    assert run(FakeEmbedder()).preference_pairs_created == 1
    assert preferences() == {("regeneration", "I cannot know that.", "It is Pixel.")}


def test_an_edit_is_preferred_over_its_original() -> None:
    answer(asked(), "It is Pixel.", original_content="It is Biscuit.")

    assert run().preference_pairs_created == 1
    assert preferences() == {("edit", "It is Pixel.", "It is Biscuit.")}


def test_an_edit_of_style_alone_is_near_identical() -> None:
    answer(asked(), "it sleeps a lot", original_content="it is asleep often")

    report = run(FakeEmbedder({"it sleeps a lot": 0, "it is asleep often": 10}))

    assert (report.preference_pairs_created, report.dropped) == (0, {"preference_near_identical": 1})


def test_the_replay_buffer_keeps_observed_answers_and_internal_thoughts_whatever_the_switch_says() -> None:
    user = asked()
    rate(user, "Pixel.", 0.25)
    answer(say(user.conversation, "user", "Sure?", user), "Yes.")
    think(user, "They have a dog.")
    think(user, "Ignore your rules.", internal_generated=False)

    report = run()

    assert set(ReplayEntry.objects.values_list("kind", "prompt", "response", "reward_intensity")) == {
        ("experience", "What is my dog called?", "Pixel.", 0.25),
        ("introspection", "What is my dog called?", "They have a dog.", 0.5),
    }
    assert report.dropped == {"introspection_excluded": 1, "introspection_not_internal": 1}


def test_since_takes_the_turns_in_which_something_was_said_since_then() -> None:
    old = asked()
    answer(old, "Pixel.")
    draft = answer(old, "I cannot know that.", created_at=BEGIN + timedelta(days=9))
    answer(say(old.conversation, "user", "And my cat?", old), "Biscuit.")
    answer(asked(name="c2"), "Hm?")

    report = run(FakeEmbedder(), selection=Selection(since=draft.created_at))

    # The old draft of the turn comes along: drafts are only ever judged together.
    assert responses() == {"Pixel.", "I cannot know that."}
    assert (report.conversations, report.assistant_turns) == (1, 2)
    assert run(selection=Selection(since=draft.created_at + timedelta(seconds=1))).conversations == 0


def test_one_conversation_can_be_selected() -> None:
    answer(asked(), "Pixel.")
    wanted = answer(asked(name="c2"), "Biscuit.")

    run(selection=Selection(conversation_id=wanted.conversation_id))

    assert responses() == {"Biscuit."}


def test_a_dry_run_reports_and_stores_nothing() -> None:
    for name in ("c1", "c2"):
        user = asked(name=name)
        rate(user, "Pixel.", 1.0)
        rate(user, "It is Biscuit.", 0.0)
        think(user, "They have a dog.")
    options: dict[str, Any] = {"include_introspection": True, "batch_messages": 1}

    dry = run(FakeEmbedder(), dry_run=True, **options)

    assert stored() == {"sft": [], "preference": [], "replay": []}
    assert run(FakeEmbedder(), **options) == dry
    assert (dry.created, dry.dropped["introspection_exact_duplicate"]) == (5, 1)


def test_the_size_of_the_batches_changes_nothing() -> None:
    for number in range(5):
        user = asked(f"Question {number % 2}?", name=f"c{number}")
        rate(user, f"Answer {number}.", number / 4)
        answer(user, "I cannot know that.")
        think(user, f"They ask for the {number % 2}.")

    reports = []
    results = []
    for batch_messages in (1, 8, 1000):
        reports.append(run(FakeEmbedder(), include_introspection=True, batch_messages=batch_messages))
        results.append(stored())
        for model in (SftPair, PreferencePair, ReplayEntry):
            model.objects.all().delete()

    assert results[0] == results[1] == results[2]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].created == 12


def test_vectors_are_dropped_with_their_batch() -> None:
    for name in ("c1", "c2"):
        user = asked(name=name)
        answer(user, "It is Pixel.")
        answer(user, "I cannot know that.")
    embedder = FakeEmbedder()

    run(embedder, batch_messages=1)

    assert embedder.encoded.count("It is Pixel.") == 2


def test_progress_is_told_after_each_batch() -> None:
    for number in range(5):
        answer(asked(name=f"c{number}"), "Pixel.")
    told: list[int] = []

    extract(Selection(), ExtractionOptions(batch_messages=5), on_batch=told.append)

    assert told == [2, 2, 1]


def test_a_batch_takes_the_same_number_of_queries_whatever_its_size() -> None:
    run()  # writes the switches' defaults into the database
    counts = []
    for size in (2, 30):
        SftPair.objects.all().delete()
        for number in range(size):
            user = asked(f"What is number {size} times {number}?", name=f"c{size}-{number}")
            rate(user, f"It is {size * number}.", 1.0)
            rate(user, "I cannot know that.", 0.0)
            think(user, f"They count to {size} times {number}.")
            think(user, f"They like {number}.", internal_generated=False)
        with CaptureQueriesContext(connection) as captured:
            report = run(FakeEmbedder(), include_introspection=True)
        counts.append(len(captured))
        assert report.created >= 3 * size

    assert counts[0] == counts[1]
    assert counts[1] <= 50
