"""The order in which a person reads a message tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from memory.models import Message


@dataclass(frozen=True, slots=True)
class Turn:
    """One message in its place: how many forks it lies aside, and which of how many drafts it is, from 1."""

    message: Message
    aside: int
    draft: int
    drafts: int


def reading_order(messages: Iterable[Message]) -> list[Turn]:
    """Return `messages` (of one conversation) depth first, each fork's abandoned drafts before the branch kept.

    So a long conversation stays flush left, and only what was abandoned is indented. A message whose parent is not
    among `messages` begins a tree of its own.
    """
    rows = list(messages)
    present = {message.pk for message in rows}
    children: defaultdict[int | None, list[Message]] = defaultdict(list)
    for message in sorted(rows, key=lambda message: (message.is_active_branch, message.branch_position, message.pk)):
        children[message.parent_id if message.parent_id in present else None].append(message)

    order: list[Turn] = []
    # A stack rather than recursion: a conversation may be thousands of messages deep.
    waiting = _turns(children[None], aside=0)
    while waiting:
        turn = waiting.pop()
        order.append(turn)
        waiting += _turns(children[turn.message.pk], aside=turn.aside)
    return order


def _turns(siblings: list[Message], *, aside: int) -> list[Turn]:
    drafts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for message in sorted(siblings, key=lambda message: (message.branch_position, message.pk)):
        # A thought beside an answer is no draft of it.
        drafts[message.role, message.kind].append(message.pk)
    turns = []
    for message in siblings:
        alike = drafts[message.role, message.kind]
        turns.append(
            Turn(
                message=message,
                aside=aside + (len(siblings) > 1 and not message.is_active_branch),
                draft=alike.index(message.pk) + 1,
                drafts=len(alike),
            )
        )
    return turns[::-1]
