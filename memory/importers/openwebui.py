"""Open WebUI exports: chats as a `history` of messages, feedback with a snapshot of the chat."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields, reasoning
from memory.importers.contents import Content, content_of
from memory.importers.records import BadRecordError, Parsed, ParsedConversation, ParsedFeedback
from memory.importers.trees import Node, arranged, last_path, path_to
from memory.importers.turns import Turn, dialogue, role_of
from memory.text import trimmed

SOURCE_SYSTEM = "openwebui"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one chat; of one feedback row the chat in its snapshot, then the rating.

    Raises:
        BadRecordError: if the chat has no messages, or they form no tree.

    """
    record = fields.as_object(record, "record")
    if isinstance(record.get("data"), Mapping) and "chat" not in record:
        yield from _feedback(record, where)
    else:
        yield _conversation(record, where)


def _conversation(record: Mapping[str, Any], where: str) -> ParsedConversation:
    # Older exports are the chat itself, without the row around it.
    chat = fields.as_object(record.get("chat") or record, "chat")
    history = fields.as_object(chat.get("history") or {}, "history")
    values = history.get("messages") or chat.get("messages") or []
    if isinstance(values, Mapping):
        values = [{"id": key, **fields.as_object(value, "messages")} for key, value in values.items()]
    nodes = [_node(fields.as_object(value, "messages")) for value in fields.as_list(values, "messages")]
    active = path_to(nodes, fields.identifier(history, "currentId"))
    messages = arranged(nodes, active or last_path(nodes))
    if not messages:
        raise BadRecordError("history: no messages")
    return ParsedConversation(
        SOURCE_SYSTEM,
        fields.identifier(record, "id") or fields.identifier(chat, "id") or messages[0].external_id,
        messages,
        title=fields.label(record, "title") or fields.label(chat, "title"),
        started_at=fields.moment(record, "created_at") or fields.moment(chat, "timestamp"),
        updated_at=fields.moment(record, "updated_at"),
        where=where,
        names_active_branch=bool(active),
    )


def _node(message: Mapping[str, Any]) -> Node:
    children = [
        child for child in fields.as_list(message.get("childrenIds") or [], "childrenIds") if isinstance(child, str)
    ]
    # An answer that failed, or was never finished, is none.
    broken = bool(message.get("error")) or message.get("done") is False
    return Node(
        fields.required_identifier(message, "id"),
        fields.identifier(message, "parentId"),
        None if broken and message.get("role") == "assistant" else _turn(message),
        children,
    )


def _turn(message: Mapping[str, Any]) -> Turn:
    role = role_of(message, "role")
    content = content_of(message.get("content"))
    created_at = fields.moment(message, "timestamp")
    if role != "assistant":
        return dialogue(role, content, created_at=created_at)
    output = _output(message.get("output"))
    # The content repeats the reasoning of the output, in the mark-up of the interface.
    parts = reasoning.split(content.text)
    text = parts.answer if trimmed(parts.answer) else output.text
    thought = output.reasoning or reasoning.joined([content.reasoning, parts.reasoning])
    turn = dialogue(role, Content(text, thought), created_at=created_at)
    turn.model_name = fields.label(message, "model")
    turn.rating = _annotated(message.get("annotation"))
    return turn


def _output(value: Any) -> Content:
    """Return what the items of `output` say, and what they reason."""
    said, thought = [], []
    for item in fields.as_list(value or [], "output"):
        item = fields.as_object(item, "output")
        if item.get("type") == "reasoning":
            thought += [content_of(item.get(name), "output").text for name in ("summary", "content")]
        elif item.get("type") == "message":
            content = content_of(item.get("content"), "output")
            said.append(content.text)
            thought.append(content.reasoning)
    return Content("\n".join(filter(None, said)), reasoning.joined(thought))


def _annotated(annotation: Any) -> int | None:
    """Return the thumb on a message; older versions keep it there. A 0 is a thumb taken back."""
    rating = annotation.get("rating") if isinstance(annotation, Mapping) else None
    return None if rating in (0, "0") else fields.rating({"rating": rating}, "rating")


def _feedback(record: Mapping[str, Any], where: str) -> Iterator[Parsed]:
    data = fields.as_object(record["data"], "data")
    meta = fields.as_object(record.get("meta") or {}, "meta")
    rating = fields.rating(data, "rating")
    if rating is None:
        raise BadRecordError("rating: missing")
    found = ParsedFeedback(
        SOURCE_SYSTEM,
        fields.identifier(meta, "chat_id") or "",
        fields.required_identifier(meta, "message_id"),
        rating,
        where=where,
    )
    snapshot = fields.as_object(record.get("snapshot") or {}, "snapshot").get("chat")
    if snapshot:
        yield _conversation(fields.as_object(snapshot, "snapshot"), where)
    yield found
