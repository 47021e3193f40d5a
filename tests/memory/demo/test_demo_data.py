"""The shipped conversations look like the log of a self-hosted assistant."""

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from memory import rules
from memory.importers import native
from memory.importers.records import ParsedConversation
from memory.text import normalised
from tests.memory.demo.shipped import (
    CONVERSATIONS,
    EDITED,
    MESSAGES,
    TURNS_WITH_DRAFTS,
    USER_TEXTS,
    facts,
    said,
    says_all,
)

FIRST_DAY = datetime(2026, 9, 20, tzinfo=UTC)
LAST_DAY = datetime(2026, 11, 20, tzinfo=UTC)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_native_importer_reads_every_conversation() -> None:
    parsed = [item for line in CONVERSATIONS for item in native.read(line, "demo")]

    assert len(parsed) == len(CONVERSATIONS) >= 60
    assert all(isinstance(item, ParsedConversation) for item in parsed)
    assert sum(len(item.messages) for item in parsed if isinstance(item, ParsedConversation)) == len(MESSAGES)


def test_it_is_one_person_over_several_weeks() -> None:
    days = sorted({moment(each["started_at"]).date() for each in CONVERSATIONS})

    assert {each["participant"] for each in CONVERSATIONS} == {"Maren"}
    assert len(days) >= 40
    assert (days[-1] - days[0]).days >= 7 * 7


def test_conversation_ids_are_unique() -> None:
    assert len({each["id"] for each in CONVERSATIONS}) == len(CONVERSATIONS)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation["id"])
def test_a_conversation_is_a_sound_tree_in_the_order_of_time(conversation: dict[str, Any]) -> None:
    seen: set[str] = set()
    for message in conversation["messages"]:
        assert message["id"] not in seen
        assert message["parent"] in seen if seen else message["parent"] is None
        seen.add(message["id"])
    moments = [moment(message["created_at"]) for message in conversation["messages"]]
    assert all(before < after for before, after in itertools.pairwise(moments))
    assert FIRST_DAY < moment(conversation["started_at"]) == moments[0]
    assert moments[-1] == moment(conversation["updated_at"]) < LAST_DAY


def test_conversations_follow_one_another() -> None:
    assert all(
        moment(before["updated_at"]) < moment(after["started_at"])
        for before, after in itertools.pairwise(CONVERSATIONS)
    )


def test_one_draft_of_every_regenerated_turn_is_active() -> None:
    assert len(TURNS_WITH_DRAFTS) >= 40
    assert {[draft["active"] for draft in drafts].count(True) for _, drafts in TURNS_WITH_DRAFTS} == {1}


def test_there_are_ratings_edits_and_tools() -> None:
    ratings = Counter(message.get("rating") for message in MESSAGES)

    assert min(ratings[1], ratings[-1]) >= 25
    assert len(EDITED) >= 5
    assert sum(message["role"] == "tool" for message in MESSAGES) >= 5
    assert any("loss" in message for message in MESSAGES)
    assert any("reward_intensity" in message for message in MESSAGES)


def test_a_question_was_worded_anew() -> None:
    assert any(message["role"] == "user" and message.get("active") is False for message in MESSAGES)


def test_introspection_is_internal_mostly_but_not_always() -> None:
    internal = Counter(message["internal_generated"] for message in MESSAGES if message.get("kind") == "introspection")

    assert internal[True] >= 5
    assert internal[False] >= 2


def test_one_or_two_conversations_must_not_be_trained() -> None:
    assert sum(not each["training_allowed"] for each in CONVERSATIONS) in (1, 2)


def test_the_person_never_says_the_same_twice() -> None:
    assert [text for text, count in Counter(map(normalised, USER_TEXTS)).items() if count > 1] == []


def test_the_assistant_repeats_itself_only_about_a_fact() -> None:
    answers = Counter(message["content"] for message in MESSAGES if message["role"] == "assistant")
    repeated = [text for text, count in answers.items() if count > 1]
    expected = [fact["expected"] for fact in facts("assistant_said", "corrected")]

    assert [text for text in repeated if not any(says_all(text, words) for words in expected)] == []


def test_the_very_same_draft_came_twice_once() -> None:
    turns = [{normalised(draft["content"]) for draft in drafts} for _, drafts in TURNS_WITH_DRAFTS]

    assert [len(texts) for texts in turns].count(1) == 1


def test_the_taste_for_plain_answers_shows_in_at_least_forty_turns() -> None:
    pairs = [(message["content"], message["original_content"]) for message in EDITED]
    for _, drafts in TURNS_WITH_DRAFTS:
        kept = next(draft["content"] for draft in drafts if draft["active"])
        pairs += [(kept, draft["content"]) for draft in drafts if not draft["active"]]

    assert sum(2 * len(kept.split()) <= len(refused.split()) for kept, refused in pairs) >= 40


def test_no_abandoned_draft_got_a_thumb_up() -> None:
    abandoned = [draft for _, drafts in TURNS_WITH_DRAFTS for draft in drafts if not draft["active"]]

    assert [draft["content"] for draft in abandoned if draft["rating"] == 1] == []


def test_preferences_are_spread_over_enough_conversations_to_hold_some_out() -> None:
    # A fifth of them is to hold eight pairs or more.
    assert len({conversation for conversation, _ in TURNS_WITH_DRAFTS}) >= 5 * 8


@pytest.mark.slow
def test_some_drafts_are_near_duplicates_while_most_are_not(embed: Callable[[list[str]], Any]) -> None:
    turns = [[draft["content"] for draft in drafts] for _, drafts in TURNS_WITH_DRAFTS]
    similarities = [float(first @ second) for first, second in map(embed, turns)]

    assert sum(similarity > rules.DRAFT_SIMILARITY_THRESHOLD for similarity in similarities) >= 6
    assert sum(similarity < rules.DRAFT_SIMILARITY_THRESHOLD for similarity in similarities) >= 40


@pytest.mark.slow
def test_answers_are_as_short_as_a_small_model_needs(token_count: Callable[[str], int]) -> None:
    of_facts = [exchange.answer["content"] for fact in facts("assistant_said", "corrected") for exchange in said(fact)]
    drafts = [draft for _, drafts in TURNS_WITH_DRAFTS for draft in drafts]

    assert max(map(token_count, of_facts)) <= 30
    assert max(token_count(draft["content"]) for draft in drafts if draft["active"]) <= 30
    assert max(token_count(draft["content"]) for draft in drafts if not draft["active"]) <= 60
    assert max(token_count(message["original_content"]) for message in EDITED) <= 60
