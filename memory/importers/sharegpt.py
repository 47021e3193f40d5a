"""ShareGPT: `conversations` of `from` and `value`, in which the assistant goes by many names."""

from collections.abc import Iterator
from typing import Any

from memory.importers import fields
from memory.importers.records import BadRecordError, Parsed, ParsedConversation
from memory.importers.trees import chained
from memory.importers.turns import Turn, chat_turn

SOURCE_SYSTEM = "sharegpt"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one record.

    Raises:
        BadRecordError: if it has no messages, or one of an unknown speaker.

    """
    record = fields.as_object(record, "record")
    messages = chained(turns(record))
    if not messages:
        raise BadRecordError("conversations: no messages")
    yield ParsedConversation(
        SOURCE_SYSTEM,
        fields.identifier(record, "id", "conversation_id") or messages[-1].external_id,
        messages,
        title=fields.label(record, "title"),
        where=where,
    )


def turns(record: Any) -> list[Turn]:
    """Return the turns of a record, with the instruction in its field `system`, if there is one, ahead."""
    found = [chat_turn(message) for message in fields.as_list(record.get("conversations"), "conversations")]
    system = fields.text(record, "system")
    return [Turn("system", system), *found] if system else found
