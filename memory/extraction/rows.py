"""Rows of the plan: the pairs and replay entries that a batch gives, ready to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from memory import rules
from memory.extraction.batch import COLLAPSED
from memory.extraction.introspection import ReplayKind
from memory.extraction.plan import BatchPlan, Place
from memory.extraction.preferences import Preference
from memory.extraction.turns import TurnMessage
from memory.models import PreferencePair
from memory.text import content_hash, trimmed

# A draft that the person left behind may still be a good answer, only less surely so.
CONFIDENCE_ABANDONED_DRAFT = 0.7

REPLAY_COLUMNS = (
    "message_id",
    "kind",
    "internal_generated",
    "prompt",
    "prompt_hash",
    "response",
    "reward_intensity",
    "created_at",
    "safety_flags",
)


class SftRow(NamedTuple):
    """One new memory pair by column; what is not set by extraction has its default.

    A tuple rather than a model instance, which takes longer to make and to check than all else that is done for a
    pair. The rules that `SftPair.problems` checks hold already: a message's scores are bounded as a pair's are, short
    texts were dropped, and the database refuses what slips through.
    """

    conversation_id: int
    user_message_id: int
    assistant_message_id: int
    instruction: str
    response: str
    content_hash: str
    context: list[dict[str, str]]
    source: str
    category: str
    sampling_weight: float
    confidence: float
    reward_intensity: float
    loss: float | None
    created_at: datetime
    metadata: dict[str, Any]
    review_status: str = "pending"
    is_used: bool = False


def sft_row(place: Place, message: TurnMessage, *, include_context: bool, metadata: dict[str, Any]) -> SftRow:
    """Return the memory pair of `message`, an answer or a thought, and the user message it answers."""
    user = _instruction(place)
    instruction, response = trimmed(user.content), trimmed(message.content)
    introspection = message.is_introspection
    return SftRow(
        conversation_id=place.conversation_id,
        user_message_id=user.id,
        assistant_message_id=message.id,
        instruction=instruction,
        response=response,
        content_hash=content_hash(instruction, response),
        context=place.tree.context(user) if include_context else [],
        source="introspection" if introspection else "conversation",
        category="introspection" if introspection else "",
        sampling_weight=rules.INTROSPECTION_SAMPLING_WEIGHT if introspection else 1.0,
        confidence=1.0 if message.is_active_branch else CONFIDENCE_ABANDONED_DRAFT,
        reward_intensity=message.reward_intensity,
        loss=message.loss,
        created_at=message.created_at,
        metadata=metadata,
    )


def sft_rows(plan: BatchPlan, *, include_context: bool) -> list[SftRow]:
    """Return the new memory pairs of `plan`, each with what it stands for in its metadata."""
    return [
        sft_row(
            place,
            message,
            include_context=include_context,
            metadata={COLLAPSED: collapsed} if (collapsed := plan.collapsed.get(message.id)) else {},
        )
        for place, message in plan.pairs
    ]


def preference_pair(place: Place, preference: Preference, *, include_context: bool) -> PreferencePair:
    """Return the preference pair of two answers to one user message."""
    user = _instruction(place)
    context = place.tree.context(user) if include_context else []
    return PreferencePair(
        conversation_id=place.conversation_id,
        prompt=[*context, {"role": "user", "content": trimmed(user.content)}],
        chosen=preference.chosen,
        rejected=preference.rejected,
        source=preference.source,
        margin=preference.margin,
        confidence=preference.confidence,
        created_at=preference.created_at,
        chosen_message_id=preference.chosen_id,
        rejected_message_id=preference.rejected_id,
    )


def replay_rows(replays: Sequence[tuple[Place, TurnMessage, ReplayKind]]) -> list[tuple[Any, ...]]:
    """Return the rows of the replay buffer, with values for `REPLAY_COLUMNS`."""
    return [
        (
            message.id,
            kind,
            message.internal_generated,
            trimmed(place.user.content) if place.user is not None else "",
            place.tree.prompt_hash(place.user) if place.user is not None else content_hash(""),
            trimmed(message.content),
            message.reward_intensity,
            message.created_at,
            [],
        )
        for place, message, kind in replays
    ]


def _instruction(place: Place) -> TurnMessage:
    if place.user is None:
        raise ValueError("place: got none with a user message, allowed only one with")
    return place.user
