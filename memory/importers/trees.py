"""Messages put into a tree: parents before children, drafts numbered, the active branch marked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memory.importers.fields import bounded_id, shown
from memory.importers.records import BadRecordError, ParsedMessage
from memory.importers.turns import Turn

REASONING_SUFFIX = "#reasoning"
_ID_BYTES = 16


@dataclass(slots=True)
class Node:
    """A place in a tree. Without a `turn` it holds nothing to keep, and its children move up to its parent.

    `children` names the order of the node's children where the export does; else they stand as they come.
    """

    id: str
    parent: str | None
    turn: Turn | None
    children: Sequence[str] = ()


def chained(turns: Iterable[Turn]) -> tuple[ParsedMessage, ...]:
    """Return a plain list of messages as a branch, each with an id that hashes all that was said up to it.

    Two exports of one conversation thus share the ids of what they share: a longer one only adds, a diverging
    one branches off. `Turn.identity` stands for the text where the text as exported was not kept.
    """
    found: list[ParsedMessage] = []
    parent: str | None = None
    for turn in turns:
        said = turn.text if turn.identity is None else turn.identity
        external_id = _chain_id(parent, turn.role, said)
        found += _messages(turn, external_id, parent, 0, True)
        parent = external_id
    return tuple(found)


def arranged(nodes: Sequence[Node], active: frozenset[str]) -> tuple[ParsedMessage, ...]:
    """Return the messages of a tree in an order in which each parent comes before its children.

    Raises:
        BadRecordError: if an id stands there twice, a parent does not exist, or parents run in a circle.

    """
    found: list[ParsedMessage] = []
    positions: Counter[str | None] = Counter()
    for node, parent in parents_first(nodes):
        if node.turn is not None:
            found += _messages(node.turn, node.id, parent, positions[parent], node.id in active)
            positions[parent] += 1
    _refuse_twice([message.external_id for message in found])
    return tuple(found)


def parents_first(nodes: Sequence[Node]) -> list[tuple[Node, str | None]]:
    """Return each node after its parent, with the id of the nearest node above it that holds a message.

    Raises:
        BadRecordError: as `arranged` does.

    """
    children = _children(nodes)
    found: list[tuple[Node, str | None]] = []
    waiting: list[tuple[Node, str | None]] = [(node, None) for node in reversed(children.get(None, []))]
    while waiting:
        node, parent = waiting.pop()
        found.append((node, parent))
        above = parent if node.turn is None else node.id
        waiting += [(child, above) for child in reversed(children.get(node.id, []))]
    if len(found) < len(nodes):
        raise BadRecordError(f"parent: {len(nodes) - len(found)} of {len(nodes)} messages lie in a circle of parents")
    return found


def path_to(nodes: Iterable[Node], leaf: str | None) -> frozenset[str]:
    """Return the ids on the way from a root to `leaf`; nothing if there is no such message."""
    parents = {node.id: node.parent for node in nodes}
    found: set[str] = set()
    while leaf is not None and leaf in parents and leaf not in found:
        found.add(leaf)
        leaf = parents[leaf]
    return frozenset(found)


def last_path(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the ids on the way to the last draft of the last draft: what an export without a leaf shows."""
    children = _children(nodes)
    found: set[str] = set()
    siblings = children.get(None, [])
    while siblings and siblings[-1].id not in found:
        found.add(siblings[-1].id)
        siblings = children.get(siblings[-1].id, [])
    return frozenset(found)


def _children(nodes: Sequence[Node]) -> dict[str | None, list[Node]]:
    _refuse_twice([node.id for node in nodes])
    by_id = {node.id: node for node in nodes}
    found: dict[str | None, list[Node]] = {}
    for node in nodes:
        if node.parent is not None and node.parent not in by_id:
            raise BadRecordError(f"parent: {shown(node.parent)} of message {shown(node.id)} does not exist")
        found.setdefault(node.parent, []).append(node)
    for parent, siblings in found.items():
        if parent is not None and len(siblings) > 1 and by_id[parent].children:
            place = {child: number for number, child in enumerate(by_id[parent].children)}
            siblings.sort(key=lambda node: place.get(node.id, len(place)))
    return found


def _refuse_twice(ids: list[str]) -> None:
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise BadRecordError(f"id: {shown(twice)} stands there twice, allowed once in a conversation")


def _messages(turn: Turn, external_id: str, parent: str | None, position: int, active: bool) -> list[ParsedMessage]:
    message = ParsedMessage(
        external_id,
        parent,
        turn.role,
        turn.text,
        turn.created_at,
        turn.kind,
        turn.internal_generated,
        active,
        position,
        turn.rating,
        turn.reward_intensity,
        turn.loss,
        turn.model_name,
        turn.original_content,
    )
    if not turn.reasoning:
        return [message]
    reasoning = ParsedMessage(
        bounded_id(external_id + REASONING_SUFFIX),
        parent,
        "assistant",
        turn.reasoning,
        turn.created_at,
        kind="introspection",
        internal_generated=True,
        is_active_branch=active,
        branch_position=position,
        model_name=turn.model_name,
    )
    return [reasoning, message]


def _chain_id(parent: str | None, role: str, said: str) -> str:
    digest = hashlib.blake2b(f"{parent or ''}:{role}:".encode(), digest_size=_ID_BYTES)
    digest.update(said.encode())
    return digest.hexdigest()
