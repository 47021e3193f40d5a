"""ChatGPT exports: conversations as a `mapping` of nodes, message feedback beside them."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields
from memory.importers.contents import Content, content_of
from memory.importers.records import BadRecordError, Parsed, ParsedConversation, ParsedFeedback
from memory.importers.trees import Node, arranged, last_path, path_to
from memory.importers.turns import Turn, dialogue, role_of

SOURCE_SYSTEM = "chatgpt"

_KEPT_METADATA = ("default_model_slug", "gizmo_id", "is_archived", "is_starred")
# A line of the interface, such as "Thought for 8 seconds".
_RECAP = "reasoning_recap"
_THOUGHTS = "thoughts"
_USER_CONTEXT = "user_editable_context"
_TOOL_CONTENT = frozenset({"code", "execution_output", "tether_browsing_display", "tether_quote", "system_error"})


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one record of `conversations.json`, or one rating of `message_feedback.json`.

    Raises:
        BadRecordError: if the conversation has no `mapping`, or one that is no tree.

    """
    record = fields.as_object(record, "record")
    if "mapping" not in record and "rating" in record:
        yield from _feedback(record, where)
        return
    nodes = [
        _node(key, fields.as_object(value, "mapping"))
        for key, value in fields.as_object(record.get("mapping"), "mapping").items()
    ]
    leaf = fields.identifier(record, "current_node")
    active = path_to(nodes, leaf)
    messages = arranged(nodes, active or last_path(nodes))
    if not messages:
        raise BadRecordError("mapping: no messages")
    yield ParsedConversation(
        SOURCE_SYSTEM,
        fields.required_identifier(record, "conversation_id", "id"),
        messages,
        title=fields.label(record, "title"),
        training_allowed=not fields.flag(record, "is_do_not_remember", default=False),
        started_at=fields.moment(record, "create_time"),
        updated_at=fields.moment(record, "update_time"),
        metadata={name: fields.plain(record[name]) for name in _KEPT_METADATA if record.get(name)},
        where=where,
        names_active_branch=bool(active),
    )


def _feedback(record: Mapping[str, Any], where: str) -> Iterator[Parsed]:
    rating = fields.rating(record, "rating")
    if rating is None:
        raise BadRecordError("rating: missing")
    yield ParsedFeedback(
        SOURCE_SYSTEM,
        fields.identifier(record, "conversation_id") or "",
        fields.required_identifier(record, "message_id", "id"),
        rating,
        where=where,
    )


def _node(key: str, node: Mapping[str, Any]) -> Node:
    message = node.get("message")
    children = [child for child in fields.as_list(node.get("children") or [], "children") if isinstance(child, str)]
    return Node(
        fields.bounded_id(fields.storable(key)),
        fields.identifier(node, "parent"),
        None if message is None else _turn(fields.as_object(message, "message")),
        children,
    )


def _turn(message: Mapping[str, Any]) -> Turn:
    author = fields.as_object(message.get("author"), "author")
    content = fields.as_object(message.get("content") or {}, "content")
    metadata = fields.as_object(message.get("metadata") or {}, "metadata")
    kind = fields.text(content, "content_type")
    role = role_of(author, "role")
    if kind == _USER_CONTEXT:
        role = "system"
    if role == "assistant" and (message.get("recipient") or "all") != "all":
        role = "tool"
    if kind in _TOOL_CONTENT:
        role = "tool"
    created_at = fields.moment(message, "create_time")
    said = _content(kind, content)
    if _is_hidden(kind, message, metadata):
        turn = Turn(role, said.text, created_at=created_at, kind="introspection")
        turn.internal_generated = role == "assistant" and kind != _RECAP
    else:
        turn = dialogue(role, said, created_at=created_at)
    if role == "assistant":
        turn.model_name = fields.label(metadata, "model_slug")
    return turn


def _is_hidden(kind: str, message: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Return whether the message is no part of what was said openly: reasoning, or context nobody sees."""
    return (
        kind in (_THOUGHTS, _RECAP, _USER_CONTEXT)
        or message.get("channel") in ("analysis", "commentary")
        or fields.number(message, "weight") == 0
        or fields.flag(metadata, "is_visually_hidden_from_conversation", default=False)
    )


def _content(kind: str, content: Mapping[str, Any]) -> Content:
    """Return the text of a node's content; each type keeps it in fields of its own."""
    if kind == _THOUGHTS:
        return Content(content_of(_thoughts(content.get("thoughts")), "thoughts").text)
    if kind == _USER_CONTEXT:
        return Content(
            "\n\n".join(filter(None, (fields.text(content, "user_profile"), fields.text(content, "user_instructions"))))
        )
    if content.get("parts") is not None:
        return content_of(content["parts"], "parts")
    return Content(fields.text(content, "text", "content", "result"))


def _thoughts(value: Any) -> list[str]:
    """Return a list of thoughts, each a summary with its content, as texts."""
    found = []
    for thought in fields.as_list(value or [], "thoughts"):
        thought = fields.as_object(thought, "thoughts")
        found += [fields.text(thought, "summary"), fields.text(thought, "content")]
    return found
