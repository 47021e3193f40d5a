"""LibreChat exports: one conversation a file, its messages nested as `children` or flat with parent ids."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields
from memory.importers.contents import Content, content_of
from memory.importers.records import BadRecordError, Parsed, ParsedConversation
from memory.importers.trees import Node, arranged, last_path
from memory.importers.turns import Turn, dialogue
from memory.text import trimmed

SOURCE_SYSTEM = "librechat"

NO_PARENT = "00000000-0000-0000-0000-000000000000"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one file.

    Raises:
        BadRecordError: if it has no messages, or they form no tree.

    """
    record = fields.as_object(record, "record")
    if "messagesTree" in record:
        nodes = _nested(fields.as_list(record["messagesTree"], "messagesTree"))
    else:
        flat = [fields.as_object(value, "messages") for value in fields.as_list(record.get("messages"), "messages")]
        nodes = [_node(message, fields.identifier(message, "parentMessageId")) for message in flat]
    messages = arranged(nodes, last_path(nodes))
    if not messages:
        raise BadRecordError("messages: no messages")
    options = fields.as_object(record.get("options") or {}, "options")
    yield ParsedConversation(
        SOURCE_SYSTEM,
        fields.required_identifier(record, "conversationId"),
        messages,
        title=fields.label(record, "title"),
        metadata={"model": fields.label(options, "model")} if options.get("model") else {},
        where=where,
    )


def _nested(roots: list[Any]) -> list[Node]:
    """Return the nodes of a tree of `children`, whatever its depth; the nesting itself tells the parent."""
    found: list[Node] = []
    waiting: list[tuple[Any, str | None]] = [(root, None) for root in reversed(roots)]
    while waiting:
        value, parent = waiting.pop()
        message = fields.as_object(value, "messagesTree")
        node = _node(message, parent)
        found.append(node)
        children = fields.as_list(message.get("children") or [], "children")
        waiting += [(child, node.id) for child in reversed(children)]
    return found


def _node(message: Mapping[str, Any], parent: str | None) -> Node:
    broken = fields.flag(message, "error", default=False) or fields.flag(message, "unfinished", default=False)
    return Node(
        fields.required_identifier(message, "messageId"),
        None if parent == NO_PARENT else parent,
        None if broken else _turn(message),
    )


def _turn(message: Mapping[str, Any]) -> Turn:
    parts = content_of(message.get("content"))
    text = parts.text if trimmed(parts.text) else fields.text(message, "text")
    created_at = fields.moment(message, "createdAt")
    # The sender is a name to show: an assistant may be called anything, also "user".
    if fields.flag(message, "isCreatedByUser", default=False):
        return dialogue("user", Content(text), created_at=created_at)
    turn = dialogue("assistant", Content(text, parts.reasoning), created_at=created_at)
    turn.model_name = fields.label(message, "model")
    feedback = message.get("feedback")
    if feedback:
        turn.rating = fields.rating(fields.as_object(feedback, "feedback"), "rating")
    return turn
