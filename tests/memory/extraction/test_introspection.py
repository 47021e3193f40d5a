"""What may enter the memory channel, and what the replay buffer keeps."""

from typing import Any

import pytest

from memory.extraction.introspection import refusal, replay_kind
from tests.memory.extraction.messages import message, rated, thought


def test_internal_introspection_enters_only_when_switched_on() -> None:
    assert refusal(thought(1), enabled=True) is None
    assert refusal(thought(1), enabled=False) == "introspection_excluded"


@pytest.mark.parametrize("enabled", [True, False])
def test_introspection_from_elsewhere_never_enters(enabled: bool) -> None:
    assert refusal(thought(1, internal_generated=False), enabled=enabled) == "introspection_not_internal"


def test_introspection_that_only_looks_empty_does_not_enter() -> None:
    assert refusal(thought(1, content="\u200b \u200b"), enabled=True) == "introspection_too_short"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "introspection"),
        ({"internal_generated": False}, None),
        ({"content": "\u200b"}, None),
        ({"role": "tool"}, "introspection"),
    ],
)
def test_the_replay_buffer_keeps_internal_introspection_alone(fields: dict[str, Any], kind: str | None) -> None:
    assert replay_kind(thought(1, **fields)) == kind


def test_the_replay_buffer_keeps_answers_whose_reward_was_observed() -> None:
    assert replay_kind(rated(1, 0.5)) == "experience"
    assert replay_kind(message(1, reward_intensity=0.9)) is None
    assert replay_kind(rated(1, 0.5, content=" ")) is None
    assert replay_kind(rated(1, 0.5, role="user")) is None
