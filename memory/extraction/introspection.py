"""Introspection: which of it may become a memory pair, what of a conversation the replay buffer keeps."""

from __future__ import annotations

from typing import Literal

from memory import rules
from memory.extraction.turns import TurnMessage
from memory.text import trimmed

ReplayKind = Literal["experience", "introspection"]


def refusal(thought: TurnMessage, *, enabled: bool) -> str | None:
    """Return why `thought` may not enter the memory channel, as one word for the report, or None.

    It is out unless it is switched on (`enabled`), and what the assistant did not itself produce is out always:
    text that calls itself a thought may come from anywhere.
    """
    if not thought.internal_generated:
        return "introspection_not_internal"
    if not enabled:
        return "introspection_excluded"
    if len(trimmed(thought.content)) < rules.MIN_RESPONSE_LENGTH:
        return "introspection_too_short"
    return None


def replay_kind(message: TurnMessage) -> ReplayKind | None:
    """Return as what the replay buffer keeps `message`, whatever the switch says, or None if it does not.

    An experience is an answer whose reward was observed; introspection passes only if the assistant itself produced it.
    """
    if len(trimmed(message.content)) < rules.MIN_RESPONSE_LENGTH:
        return None
    if message.is_introspection:
        return "introspection" if message.internal_generated else None
    return "experience" if message.is_answer and message.reward_observed else None
