"""The content of a message, in any of the shapes that exports give it, as plain text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory.importers.fields import shown, storable
from memory.importers.reasoning import joined
from memory.importers.records import BadRecordError

_REASONING_TYPES = frozenset({"thinking", "think", "thought", "thoughts", "reasoning", "redacted_thinking"})
# Parts that are no words of the speaker: calls of tools, what came back, pictures and sound.
_TOOL_TYPES = frozenset(
    {"tool_use", "tool_result", "tool_call", "function_call", "function_call_output", "code", "execution_output"}
)
_TEXT_FIELDS = ("text", "value", "refusal")
_REASONING_TEXT_FIELDS = ("thinking", "think", "thought", "thoughts", "reasoning", "text", "summary", "content")
_NESTED_FIELDS = ("value", "text", "summary", "content")
_BESIDE_CONTENT = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, and the reasoning that its parts or fields name as such."""

    text: str
    reasoning: str = ""


def content_of(value: Any, field: str = "content") -> Content:
    """Return the text of a message's content: text, null, one part, or a list of parts."""
    if isinstance(value, str):
        return Content(storable(value))
    if value is None:
        return Content("")
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise BadRecordError(f"{field}: got {shown(value)}, allowed text or a list of parts")
    said: list[str] = []
    thought: list[str] = []
    for part in value:
        kind = _kind(part, field)
        if kind in _REASONING_TYPES:
            thought += _texts(part, _REASONING_TEXT_FIELDS)
        elif kind not in _TOOL_TYPES:
            said += [part] if isinstance(part, str) else _texts(part, _TEXT_FIELDS)
    return Content(storable("\n".join(filter(None, said))), joined(list(map(storable, thought))))


def reasoning_fields(message: Mapping[str, Any]) -> str:
    """Return the reasoning that stands beside the content of a message, in a field of its own."""
    if message.keys().isdisjoint(_BESIDE_CONTENT):
        return ""
    return joined([storable(text) for text in _texts(message, _BESIDE_CONTENT)])


def _texts(part: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the texts in the fields `names`: direct ones, and those of nested parts."""
    found: list[str] = []
    for name in names:
        value = part.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                found.append(item)
            elif isinstance(item, Mapping):
                found += [item[key] for key in _NESTED_FIELDS if isinstance(item.get(key), str)]
    return found


def _kind(part: Any, field: str) -> str:
    """Return the type a part names; a text is a part of its own."""
    if isinstance(part, str):
        return "text"
    if isinstance(part, Mapping):
        return str(part.get("type", part.get("content_type")))
    raise BadRecordError(f"{field}: got the part {shown(part)}, allowed text or an object")
