"""The general texts are two sets apart, neither about the person."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.memory.demo.shipped import FACTS, GENERAL, expected_words, says, word_overlap

COMPLETION_TOKENS = range(40, 121)
# Texts of two topics share their small words alone.
MAX_WORD_OVERLAP = 0.3


def whole(item: Mapping[str, Any]) -> str:
    return " ".join(message["content"] for message in [*item["prompt"], *item["completion"]])


def test_there_is_a_set_to_hold_on_to_with_another_to_measure_by() -> None:
    assert set(GENERAL) == {"retention", "drift"}


@pytest.mark.parametrize("name", ["retention", "drift"])
def test_a_general_text_is_one_question_with_one_answer(name: str) -> None:
    items = GENERAL[name]

    assert len(items) >= 24
    assert [[message["role"] for message in item["prompt"]] for item in items] == [["user"]] * len(items)
    assert [[message["role"] for message in item["completion"]] for item in items] == [["assistant"]] * len(items)


def test_the_two_sets_have_no_topic_in_common() -> None:
    overlaps = [word_overlap(whole(one), whole(other)) for one in GENERAL["retention"] for other in GENERAL["drift"]]

    assert max(overlaps) < MAX_WORD_OVERLAP


def test_general_text_says_nothing_about_the_person() -> None:
    words = ["Maren", *(word for fact in FACTS for word in expected_words(fact))]
    texts = [whole(item) for items in GENERAL.values() for item in items]

    assert [(word, text) for text in texts for word in words if says(text, word)] == []


@pytest.mark.slow
def test_a_general_answer_is_a_paragraph_long(token_count: Callable[[str], int]) -> None:
    answers = [item["completion"][0]["content"] for items in GENERAL.values() for item in items]

    assert [text for text in answers if token_count(text) not in COMPLETION_TOKENS] == []
