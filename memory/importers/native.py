"""The project's own format: one conversation a line, as a self-hosted assistant logs it (`docs/formats.md`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields, reasoning
from memory.importers.contents import content_of, reasoning_fields
from memory.importers.records import BadRecordError, Kind, Parsed, ParsedConversation
from memory.importers.trees import Node, arranged, last_path, parents_first
from memory.importers.turns import Turn, dialogue, role_of

SOURCE_SYSTEM = "native"
MAX_SOURCE_SYSTEM_LENGTH = 32

_KINDS: Mapping[str, Kind] = {"": "dialogue", "dialogue": "dialogue", "introspection": "introspection"}


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation of one line.

    Raises:
        BadRecordError: if it has no messages, they form no tree, or a field is not what the format says.

    """
    record = fields.as_object(record, "record")
    values = [fields.as_object(value, "messages") for value in fields.as_list(record.get("messages"), "messages")]
    if not values:
        raise BadRecordError("messages: no messages")
    nodes: list[Node] = []
    for value in values:
        nodes.append(_node(value, str(len(nodes) + 1), nodes[-1].id if nodes else None))
    names_active_branch = any(value.get("active") is not None for value in values)
    messages = arranged(nodes, _marked(nodes, values) if names_active_branch else last_path(nodes))
    yield ParsedConversation(
        _source_system(record),
        fields.required_identifier(record, "id"),
        messages,
        title=fields.label(record, "title"),
        participant=fields.label(record, "participant"),
        training_allowed=fields.flag(record, "training_allowed", default=True),
        started_at=fields.moment(record, "started_at"),
        updated_at=fields.moment(record, "updated_at"),
        metadata=fields.plain(fields.as_object(record.get("metadata") or {}, "metadata")),
        where=where,
        names_active_branch=names_active_branch,
    )


def _source_system(record: Mapping[str, Any]) -> str:
    name = fields.text(record, "source_system") or SOURCE_SYSTEM
    if len(name) > MAX_SOURCE_SYSTEM_LENGTH:
        raise BadRecordError(f"source_system: got {len(name)} characters, allowed {MAX_SOURCE_SYSTEM_LENGTH} or fewer")
    return name


def _node(message: Mapping[str, Any], position: str, previous: str | None) -> Node:
    parent = fields.identifier(message, "parent") if "parent" in message else previous
    return Node(fields.identifier(message, "id") or position, parent, _turn(message))


def _turn(message: Mapping[str, Any]) -> Turn:
    role = role_of(message, "role")
    content = content_of(message.get("content"))
    kind = _KINDS.get(fields.text(message, "kind"))
    if kind is None:
        raise BadRecordError(f"kind: got {fields.shown(message['kind'])}, allowed dialogue, introspection")
    created_at = fields.moment(message, "created_at")
    if kind == "introspection":
        turn = Turn(role, content.text, created_at=created_at, kind=kind)
        turn.internal_generated = fields.flag(message, "internal_generated", default=False)
    else:
        turn = dialogue(role, content, beside=reasoning_fields(message), created_at=created_at)
        turn.original_content = reasoning.split(fields.text(message, "original_content")).answer
    turn.rating = fields.rating(message, "rating")
    turn.reward_intensity = fields.unit_interval(message, "reward_intensity")
    turn.loss = fields.loss(message)
    turn.model_name = fields.label(message, "model")
    return turn


def _marked(nodes: list[Node], values: list[Mapping[str, Any]]) -> frozenset[str]:
    """Return the active messages: what a message says of itself, else the same as its parent."""
    said = {
        node.id: fields.flag(value, "active", default=True)
        for node, value in zip(nodes, values, strict=True)
        if value.get("active") is not None
    }
    active: dict[str | None, bool] = {None: True}
    for node, parent in parents_first(nodes):
        active[node.id] = said.get(node.id, active[parent])
    return frozenset(key for key, is_active in active.items() if is_active and key is not None)
