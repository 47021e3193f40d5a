"""The probes ask for what the conversations hold, in words that they do not hold."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from memory import rules
from memory.text import normalised
from tests.memory.demo.shipped import (
    EVERY_KIND,
    FACTS,
    MESSAGES,
    USER_TEXTS,
    Exchange,
    Fact,
    expected_words,
    facts,
    questions,
    said,
    said_outdated,
    says,
    says_all,
    word_overlap,
)

# Two questions of different wording share less of their words than this.
MAX_WORD_OVERLAP = 0.75


def moment(exchange: Exchange) -> datetime:
    return datetime.fromisoformat(exchange.answer["created_at"])


def test_facts_are_as_many_as_promised() -> None:
    assert len(facts("assistant_said")) >= 20
    assert len(facts("corrected")) == 2
    assert len(facts("person_only")) in (4, 5)
    assert len(facts(*EVERY_KIND)) == len(FACTS)
    assert len({fact["id"] for fact in FACTS}) == len(FACTS)


def test_probes_are_as_many_as_promised() -> None:
    assert min(len(fact["questions"]) for fact in FACTS) >= 2
    assert len(questions("assistant_said", "corrected")) >= 44
    assert len(questions("person_only")) >= 8


def test_no_probe_is_asked_twice() -> None:
    every = questions(*EVERY_KIND)

    assert len({normalised(question) for question in every}) == len(every)


@pytest.mark.parametrize("fact", facts("assistant_said", "corrected"), ids=lambda fact: fact["id"])
def test_the_assistant_says_a_fact_in_answer_to_many_questions(fact: Fact) -> None:
    assert len({normalised(exchange.question["content"]) for exchange in said(fact)}) >= 6


@pytest.mark.parametrize("fact", facts("person_only"), ids=lambda fact: fact["id"])
def test_only_the_person_says_what_is_theirs_alone(fact: Fact) -> None:
    others = [message["content"] for message in MESSAGES if message["role"] != "user"]

    assert any(says_all(text, fact["expected"]) for text in USER_TEXTS)
    assert [text for text in others for word in expected_words(fact) if says(text, word)] == []


@pytest.mark.parametrize("fact", facts("corrected"), ids=lambda fact: fact["id"])
def test_the_older_value_of_a_corrected_fact_is_never_the_last_word(fact: Fact) -> None:
    older = [exchange for exchange in said_outdated(fact) if exchange.answer["rating"] != -1]
    first_newer = min(map(moment, said(fact)))

    assert len(older) in (1, 2)
    assert max(map(moment, older)) < first_newer
    assert len(said(fact)) >= 5


@pytest.mark.parametrize("fact", facts("corrected"), ids=lambda fact: fact["id"])
def test_the_older_value_was_refused_once_after_the_correction(fact: Fact) -> None:
    refused = [exchange for exchange in said_outdated(fact) if exchange.answer["rating"] == -1]
    first_newer = min(map(moment, said(fact)))

    assert [moment(exchange) > first_newer for exchange in refused] == [True]


def test_only_corrected_facts_have_an_outdated_value() -> None:
    assert [fact["id"] for fact in FACTS if fact["outdated"]] == [fact["id"] for fact in facts("corrected")]


def test_no_two_facts_share_an_expected_word() -> None:
    words = Counter(word.casefold() for fact in FACTS for word in {*expected_words(fact), *fact["outdated"]})

    assert [word for word, count in words.items() if count > 1] == []


@pytest.mark.parametrize("question", questions(*EVERY_KIND))
def test_a_probe_is_worded_like_no_message(question: str) -> None:
    closest = max(USER_TEXTS, key=lambda text: word_overlap(text, question))

    assert word_overlap(closest, question) < MAX_WORD_OVERLAP, closest


def test_a_probe_does_not_give_its_answer_away() -> None:
    asked = [(question, fact) for fact in FACTS for question in fact["questions"]]

    assert [question for question, fact in asked for word in expected_words(fact) if says(question, word)] == []


@pytest.mark.slow
def test_no_probe_is_close_in_meaning_to_a_message(embed: Callable[[list[str]], Any]) -> None:
    every = questions(*EVERY_KIND)
    similarities = embed(every) @ embed(USER_TEXTS).T
    close = similarities.max(axis=1) > rules.DRAFT_SIMILARITY_THRESHOLD

    assert [question for question, is_close in zip(every, close, strict=True) if is_close] == []
