"""One message as a turn of a conversation: who speaks, what is said, and the reasoning cut out of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memory.importers import fields, reasoning
from memory.importers.contents import Content, content_of, reasoning_fields
from memory.importers.records import BadRecordError, Kind, Role
from memory.text import trimmed

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "claude": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "function": "tool",
    "function_call": "tool",
    "function_response": "tool",
    "observation": "tool",
    "tool": "tool",
    "tool_call": "tool",
    "tool_response": "tool",
}


@dataclass(slots=True)
class Turn:
    """What one message says, before it has its place in a tree; fields as in `ParsedMessage`.

    `reasoning` was cut out of the message, and becomes a message of its own beside it.
    """

    role: Role
    text: str
    reasoning: str = ""
    created_at: datetime | None = None
    kind: Kind = "dialogue"
    internal_generated: bool = False
    rating: int | None = None
    reward_intensity: float | None = None
    loss: float | None = None
    model_name: str = ""
    original_content: str = ""
    identity: str | None = None


def role_of(message: Mapping[str, Any], *names: str) -> Role:
    """Return who speaks, from the first of the fields `names` that is there, whatever alias it uses."""
    said = fields.text(message, *names)
    role = ROLES.get(said) or ROLES.get(said.casefold())
    if role is None:
        field = next((name for name in names if name in message), names[0])
        raise BadRecordError(f"{field}: got {fields.shown(said)}, allowed {', '.join(ROLES)}")
    return role


def dialogue(role: Role, content: Content, *, beside: str = "", created_at: datetime | None = None) -> Turn:
    """Return something said openly; what an assistant thought, in `content` or `beside` it, is set apart."""
    if role != "assistant":
        return Turn(role, content.text, created_at=created_at)
    parts = reasoning.split(content.text)
    if parts.answer is content.text and not content.reasoning and not beside:
        return Turn(role, content.text, created_at=created_at)
    thought = reasoning.joined([beside, content.reasoning, parts.reasoning])
    return Turn(role, parts.answer, thought, created_at, identity=content.text)


def chat_turn(message: Any) -> Turn:
    """Return a message of `role` and `content`, or of `from` and `value`.

    An assistant's message of nothing but tool calls is tool chatter, not an answer. `weight` 0 on an assistant's
    message means in OpenAI's files that it shall not be learned: a reward of 0.
    """
    message = fields.as_object(message, "message")
    role = role_of(message, "role", "from")
    content = content_of(message.get("content", message.get("value")))
    if role != "assistant":
        return Turn(role, content.text)
    turn = dialogue(role, content, beside=reasoning_fields(message))
    calls = message.get("tool_calls") or message.get("function_call")
    if calls and not trimmed(turn.text):
        turn.role = "tool"
        turn.text = turn.identity = json.dumps(fields.plain(calls), ensure_ascii=False)
    if fields.number(message, "weight") == 0:
        turn.reward_intensity = 0.0
    return turn
