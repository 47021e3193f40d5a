"""A pair that breaks a rule says which field, what it got, what is allowed."""

from typing import Any, cast

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from memory.models import TrainingPair
from memory.text import content_hash, preference_hash
from tests.memory import rows

PROMPT = [{"role": "user", "content": "Say hello."}]
A_MESSAGE = "allowed a message of role (system, user, assistant, tool) and content (text)"
STORABLE = "allowed finite numbers, and text without NUL and without halves of surrogate pairs"

SHARED: list[tuple[dict[str, Any], str]] = [
    ({"confidence": 1.5}, "confidence: got 1.5, allowed 0 to 1"),
    ({"confidence": -0.5}, "confidence: got -0.5, allowed 0 to 1"),
    ({"confidence": float("nan")}, "confidence: got nan, allowed 0 to 1"),
    ({"sampling_weight": 2.0}, "sampling_weight: got 2.0, allowed 0 to 1"),
    ({"review_status": "maybe"}, "review_status: got 'maybe', allowed pending, approved, rejected"),
    ({"is_used": True}, "is_used: got True, allowed only together with used_timestamp and training_epoch"),
    (
        {"is_used": True, "training_epoch": 0},
        "is_used: got True, allowed only together with used_timestamp and training_epoch",
    ),
]
SFT: list[tuple[dict[str, Any], str]] = [
    *SHARED,
    ({"instruction": "?"}, "instruction: got 1 characters, allowed 2 or more"),
    ({"instruction": " \u200b\n? "}, "instruction: got 1 characters, allowed 2 or more"),
    ({"response": ""}, "response: got 0 characters, allowed 2 or more"),
    ({"source": "rumour"}, "source: got 'rumour', allowed conversation, introspection, import, manual"),
    ({"reward_intensity": -1.0}, "reward_intensity: got -1.0, allowed 0 to 1"),
    ({"loss": -0.25}, "loss: got -0.25, allowed 0 or more"),
    ({"loss": float("nan")}, "loss: got nan, allowed 0 or more"),
    ({"context": {"role": "user"}}, "context: got {'role': 'user'}, allowed a list of 0 or more messages"),
    (
        {"context": [*PROMPT, {"role": "human", "content": "Hi"}]},
        f"context: got {{'role': 'human', 'content': 'Hi'}} at place 1, {A_MESSAGE}",
    ),
    *(
        (
            {"context": [{"role": "user", "content": "Hi", **bad}]},
            f"context: got {{'role': 'user', 'content': {shown} at place 0, {STORABLE}",
        )
        for bad, shown in cast(
            list[tuple[dict[str, Any], str]],
            [
                ({"content": "\0"}, "'\\x00'}"),
                ({"content": "\ud800"}, "'\\ud800'}"),
                ({"a": ["\0"]}, "'Hi', 'a': ['\\x00']}"),
                ({"\udfff": 1}, "'Hi', '\\udfff': 1}"),
                ({"a": float("nan")}, "'Hi', 'a': nan}"),
            ],
        )
    ),
    (
        {"context": [{"role": "user", "content": None}]},
        f"context: got {{'role': 'user', 'content': None}} at place 0, {A_MESSAGE}",
    ),
]
PREFERENCE: list[tuple[dict[str, Any], str]] = [
    *SHARED,
    ({"chosen": "!"}, "chosen: got 1 characters, allowed 2 or more"),
    ({"rejected": " "}, "rejected: got 0 characters, allowed 2 or more"),
    ({"source": "rumour"}, "source: got 'rumour', allowed rating, regeneration, edit, replay, import"),
    ({"margin": 1.25}, "margin: got 1.25, allowed 0 to 1"),
    ({"chosen": "Hello. ", "rejected": "Hello."}, "rejected: got the same text as chosen, allowed only another one"),
    ({"prompt": []}, "prompt: got [], allowed a list of 1 or more messages"),
    ({"prompt": None}, "prompt: got None, allowed a list of 1 or more messages"),
    ({"prompt": "x" * 99}, f"prompt: got '{'x' * 59}…, allowed a list of 1 or more messages"),
    ({"prompt": ["Hello"]}, f"prompt: got 'Hello' at place 0, {A_MESSAGE}"),
]


@pytest.mark.parametrize(("fields", "message"), SFT)
def test_a_memory_pair_names_field_value_and_allowed_range(fields: dict[str, Any], message: str) -> None:
    assert refusal(rows.unsaved_sft_pair(**fields)) == [message]


@pytest.mark.django_db
@pytest.mark.parametrize(("fields", "message"), PREFERENCE)
def test_a_preference_pair_names_field_value_and_allowed_range(fields: dict[str, Any], message: str) -> None:
    assert refusal(rows.unsaved_preference_pair(**fields)) == [message]


def test_all_problems_of_a_pair_are_told_at_once() -> None:
    assert refusal(rows.unsaved_sft_pair(instruction="?", loss=-1.0, confidence=7.0)) == [
        "instruction: got 1 characters, allowed 2 or more",
        "loss: got -1.0, allowed 0 or more",
        "confidence: got 7.0, allowed 0 to 1",
    ]


@pytest.mark.django_db
def test_a_pair_cannot_be_merged_into_itself() -> None:
    pair = rows.sft_pair()
    pair.merged_into = pair
    assert refusal(pair) == ["merged_into: got the pair itself, allowed another pair"]


@pytest.mark.django_db
def test_a_preference_pair_that_is_stored_already_is_refused_with_its_number() -> None:
    stored = rows.preference_pair()
    assert refusal(rows.unsaved_preference_pair(chosen=" HELLO. ")) == [
        f"content: got the prompt and answers of preference pair {stored.pk}, allowed only new content"
    ]
    stored.clean()


@pytest.mark.django_db
def test_full_validation_tells_of_a_broken_rule_once() -> None:
    with pytest.raises(ValidationError) as refused:
        rows.unsaved_sft_pair(reward_intensity=2.0).full_clean()
    assert refused.value.messages == ["reward_intensity: got 2.0, allowed 0 to 1"]


@pytest.mark.django_db
def test_a_good_pair_is_trimmed_and_hashed() -> None:
    pair = rows.unsaved_sft_pair(instruction="\ufeff What is my dog called?\n", response="Pixel.\u200b")
    pair.clean()
    assert (pair.instruction, pair.response) == ("What is my dog called?", "Pixel.")
    assert pair.content_hash == content_hash("What is my dog called?", "Pixel.")

    preference = rows.unsaved_preference_pair(
        chosen=" Hello.", is_used=True, training_epoch=0, used_timestamp=timezone.now()
    )
    preference.clean()
    assert preference.chosen == "Hello."
    assert preference.content_hash == preference_hash(PROMPT, "Hello.", "Oh, what a lovely day to say hello!")


def refusal(pair: TrainingPair) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        pair.clean()
    return refused.value.messages
