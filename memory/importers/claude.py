"""Claude.ai exports: `chat_messages` with text blocks, from newer exports a tree."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields
from memory.importers.contents import Content, content_of
from memory.importers.records import BadRecordError, Parsed, ParsedConversation
from memory.importers.trees import Node, arranged, last_path, path_to
from memory.importers.turns import Turn, dialogue, role_of
from memory.text import trimmed

SOURCE_SYSTEM = "claude"

# What the first message of a tree names as its parent.
ROOTS = frozenset({"00000000-0000-0000-0000-000000000000", "00000000-0000-4000-8000-000000000000"})
_KEPT_METADATA = ("model", "project_uuid", "is_starred")


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one record; without parents the messages stand in a row.

    Raises:
        BadRecordError: if it has no messages, or they form no tree.

    """
    record = fields.as_object(record, "record")
    nodes: list[Node] = []
    for value in fields.as_list(record.get("chat_messages"), "chat_messages"):
        nodes.append(_node(fields.as_object(value, "chat_messages"), nodes[-1].id if nodes else None))
    if not nodes:
        raise BadRecordError("chat_messages: no messages")
    active = path_to(nodes, fields.identifier(record, "current_leaf_message_uuid"))
    yield ParsedConversation(
        SOURCE_SYSTEM,
        fields.required_identifier(record, "uuid"),
        arranged(nodes, active or last_path(nodes)),
        title=fields.label(record, "name"),
        started_at=fields.moment(record, "created_at"),
        updated_at=fields.moment(record, "updated_at"),
        metadata={name: fields.plain(record[name]) for name in _KEPT_METADATA if record.get(name)},
        where=where,
        names_active_branch=bool(active),
    )


def _node(message: Mapping[str, Any], previous: str | None) -> Node:
    parent = previous
    if "parent_message_uuid" in message:
        parent = fields.identifier(message, "parent_message_uuid")
    return Node(fields.required_identifier(message, "uuid"), None if parent in ROOTS else parent, _turn(message))


def _turn(message: Mapping[str, Any]) -> Turn:
    role = role_of(message, "sender")
    blocks = content_of(message.get("content"))
    text = blocks.text if trimmed(blocks.text) else fields.text(message, "text")
    if not trimmed(text):
        text = _pasted(message)
    return dialogue(role, Content(text, blocks.reasoning), created_at=fields.moment(message, "created_at"))


def _pasted(message: Mapping[str, Any]) -> str:
    """Return the text of the attachments: a long paste becomes one, and the message itself is empty."""
    found = [
        fields.text(fields.as_object(value, "attachments"), "extracted_content")
        for value in fields.as_list(message.get("attachments") or [], "attachments")
    ]
    return "\n\n".join(filter(None, found))
