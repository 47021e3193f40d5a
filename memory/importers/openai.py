"""OpenAI fine-tuning files: chat lines, preference lines, OpenPipe's variants of both."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields
from memory.importers.pairs import preference
from memory.importers.records import BadRecordError, Parsed, ParsedConversation
from memory.importers.trees import chained
from memory.importers.turns import Turn, chat_turn

SOURCE_SYSTEM = "openai"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation or the preference pair of one line.

    Raises:
        BadRecordError: if the line has no messages, or a pair without two answers.

    """
    record = fields.as_object(record, "record")
    if "preferred_output" in record or "non_preferred_output" in record:
        yield preference(
            _messages(record.get("input"), "input"),
            chosen=_messages(record.get("preferred_output"), "preferred_output"),
            rejected=_messages(record.get("non_preferred_output"), "non_preferred_output"),
            where=where,
        )
    elif "rejected_message" in record:
        messages = _messages(record.get("messages"), "messages")
        yield preference(
            messages[:-1], chosen=messages[-1:], rejected=[chat_turn(record["rejected_message"])], where=where
        )
    elif "messages" in record:
        yield conversation(_messages(record["messages"], "messages"), SOURCE_SYSTEM, where)
    else:
        turns = _messages(record.get("input"), "input") + _answer(record.get("output"))
        yield conversation(turns, SOURCE_SYSTEM, where)


def conversation(turns: list[Turn], source_system: str, where: str) -> ParsedConversation:
    """Return a conversation that has no id of its own: it goes by the hash of its messages."""
    messages = chained(turns)
    if not messages:
        raise BadRecordError("messages: no messages")
    return ParsedConversation(source_system, messages[-1].external_id, messages, where=where)


def _messages(value: Any, field: str) -> list[Turn]:
    """Return turns from a list of messages, from an object that holds one, or from a single message."""
    if isinstance(value, Mapping):
        value = value.get("messages", [value])
    return [chat_turn(message) for message in fields.as_list(value, field)]


def _answer(output: Any) -> list[Turn]:
    """Return the answer in a logged response of the chat API."""
    output = fields.as_object(output, "output")
    choices = fields.as_list(output.get("choices", [output]), "output.choices")
    if not choices:
        raise BadRecordError("output.choices: no choices")
    first = fields.as_object(choices[0], "output.choices")
    return [chat_turn(first.get("message", first))]
