"""Messages of one conversation, each answer paired with the user message that it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from memory.text import content_hash

# How many messages before the instruction a context holds at most. Without a bound, the contexts of one conversation
# grow with the square of its length: 10,000 messages would make 25 million.
MAX_CONTEXT_MESSAGES = 64


class TurnMessage(NamedTuple):
    """One message of a conversation's tree, as far as extraction looks at it.

    `reward_intensity` lies in [0, 1]; `rating` is 1, -1 or None; `loss` is in nats per token. `original_content` is
    the text before a person edited it, empty where nobody did. A tuple, as that is made ten times as fast as a frozen
    dataclass, and there is one for every message.
    """

    id: int
    parent_id: int | None
    role: str
    kind: str
    internal_generated: bool
    content: str
    original_content: str
    created_at: datetime
    reward_intensity: float
    reward_observed: bool
    rating: int | None
    loss: float | None
    is_active_branch: bool
    branch_position: int

    @property
    def is_introspection(self) -> bool:
        """Whether this is a thought of the assistant rather than a part of the dialogue."""
        return self.kind == "introspection"

    @property
    def is_answer(self) -> bool:
        """Whether this is something the assistant said to the person."""
        return self.role == "assistant" and self.kind == "dialogue"

    @property
    def is_instruction(self) -> bool:
        """Whether this is something the person said."""
        return self.role == "user" and self.kind == "dialogue"


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message with everything the assistant said and thought before the next one, on every branch."""

    user: TurnMessage
    answers: tuple[TurnMessage, ...]
    thoughts: tuple[TurnMessage, ...]


class MessageTree:
    """The messages of one conversation, linked by their parents.

    A parent that is missing, or that leads back to the message itself, ends the way up; it is never an error.
    """

    def __init__(self, messages: Iterable[TurnMessage]) -> None:
        self._messages = {message.id: message for message in messages}
        self._instructions: dict[int, TurnMessage | None] = {}
        self._digests: dict[int, str] = {}

    def instruction_for(self, message: TurnMessage) -> TurnMessage | None:
        """Return the most recent user message above `message` on its branch, or None.

        Every message is walked once, however often this is asked: all calls together are linear in their number.
        """
        walked: list[int] = []
        seen: set[int] = set()
        found: TurnMessage | None = None
        node: TurnMessage | None = message
        while node is not None and node.id not in seen:
            if node.id in self._instructions:
                found = self._instructions[node.id]
                break
            walked.append(node.id)
            seen.add(node.id)
            node = self._parent(node)
            if node is not None and node.is_instruction:
                found = node
                break
        for key in walked:
            self._instructions[key] = found
        return found

    def turns(self) -> list[Turn]:
        """Return the turns that have an answer or a thought, in the order of their user messages."""
        found: dict[int, tuple[list[TurnMessage], list[TurnMessage]]] = {}
        for message, user in self._said:
            if user is not None:
                answers, thoughts = found.setdefault(user.id, ([], []))
                (thoughts if message.is_introspection else answers).append(message)
        return [
            Turn(self._messages[key], tuple(answers), tuple(thoughts))
            for key, (answers, thoughts) in sorted(found.items())
        ]

    def without_instruction(self) -> list[TurnMessage]:
        """Return the answers and thoughts that stand before any user message on their branch."""
        return [message for message, user in self._said if user is None]

    @cached_property
    def _said(self) -> list[tuple[TurnMessage, TurnMessage | None]]:
        """Every answer and thought with the user message above it."""
        return [
            (message, self.instruction_for(message))
            for message in self._messages.values()
            if message.is_answer or message.is_introspection
        ]

    def context(self, user: TurnMessage, *, limit: int = MAX_CONTEXT_MESSAGES) -> list[dict[str, str]]:
        """Return the dialogue before `user` on its branch, oldest first, as messages of `role` and `content`.

        Of user, assistant and system messages the last `limit` are kept.
        """
        above: list[dict[str, str]] = []
        seen = {user.id}
        node = self._parent(user)
        while node is not None and node.id not in seen and len(above) < limit:
            seen.add(node.id)
            if node.kind == "dialogue" and node.role in {"user", "assistant", "system"} and node.content:
                above.append({"role": node.role, "content": node.content})
            node = self._parent(node)
        return above[::-1]

    def prompt_hash(self, user: TurnMessage) -> str:
        """Return the content hash of what was said up to and with `user` on its branch.

        Two turns are of one prompt only if the whole dialogue before them is the same: `continue` after two stories
        asks for two things. With nothing before it, this is the content hash of the user message alone. Every message
        is hashed once, however often this is asked.
        """
        said: list[TurnMessage] = []
        seen: set[int] = set()
        node: TurnMessage | None = user
        while node is not None and node.id not in seen and node.id not in self._digests:
            seen.add(node.id)
            if node.is_answer or node.is_instruction:
                said.append(node)
            node = self._parent(node)
        digest = self._digests.get(node.id, "") if node is not None else ""
        for message in reversed(said):
            digest = content_hash(digest, message.role, message.content) if digest else content_hash(message.content)
            self._digests[message.id] = digest
        return digest

    def _parent(self, message: TurnMessage) -> TurnMessage | None:
        return None if message.parent_id is None else self._messages.get(message.parent_id)
