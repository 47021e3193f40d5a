"""Stored conversations for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from memory.extraction.pipeline import extract
from memory.extraction.report import ExtractionReport
from memory.extraction.request import ExtractionOptions, Selection
from memory.models import Conversation, Message, PreferencePair, ReplayEntry, SftPair
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder, refuse_to_load

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def say(conversation: Conversation, role: str, content: str, parent: Message | None = None, **fields: Any) -> Message:
    """Store a message, one minute after the one before it."""
    number = conversation.messages.count()
    values = {"created_at": BEGIN + timedelta(minutes=number), **fields}
    return rows.message(conversation, f"m{number}", role=role, content=content, parent=parent, **values)


def asked(content: str = "What is my dog called?", name: str = "c1", **fields: Any) -> Message:
    """Store a conversation that begins with a user message; return that message."""
    return say(rows.conversation(name, **fields), "user", content)


def answer(user: Message, content: str, parent: Message | None = None, **fields: Any) -> Message:
    return say(user.conversation, "assistant", content, parent or user, **fields)


def rate(user: Message, content: str, reward: float, **fields: Any) -> Message:
    return answer(user, content, reward_intensity=reward, reward_observed=True, **fields)


def think(user: Message, content: str, **fields: Any) -> Message:
    return answer(user, content, **{"kind": "introspection", "internal_generated": True, **fields})


def run(
    embedder: FakeEmbedder | None = None, *, selection: Selection | None = None, **options: Any
) -> ExtractionReport:
    """Extract everything; without an embedder, none may be asked for."""
    return extract(
        selection or Selection(),
        ExtractionOptions(**options),
        load=refuse_to_load if embedder is None else lambda: embedder,
    )


def stored() -> dict[str, list[tuple[Any, ...]]]:
    """Return all that extraction stored, without what differs from one database to the next."""
    told = ("instruction", "response", "context", "source", "confidence", "reward_intensity", "loss", "sampling_weight")
    compared = ("prompt", "chosen", "rejected", "source", "margin", "confidence")
    kept = ("kind", "prompt", "prompt_hash", "response", "reward_intensity")
    return {
        "sft": sorted(SftPair.objects.values_list("assistant_message__external_id", *told, "content_hash"), key=repr),
        "preference": sorted(PreferencePair.objects.values_list(*compared, "content_hash"), key=repr),
        "replay": sorted(ReplayEntry.objects.values_list(*kept), key=repr),
    }
