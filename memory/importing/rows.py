"""Rows of conversations that wait to be written, and the writing of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memory import rules
from memory.bulk import insert_rows, key_list, reserve_ids, update_rows
from memory.importers.records import ParsedConversation, ParsedMessage
from memory.models import Conversation, Message

_CONVERSATION_COLUMNS = (
    "id",
    "source_system",
    "external_id",
    "title",
    "participant",
    "training_allowed",
    "started_at",
    "updated_at",
    "metadata",
    "import_batch_id",
)
_MESSAGE_COLUMNS = (
    "id",
    "conversation_id",
    "parent_id",
    "external_id",
    "branch_position",
    "is_active_branch",
    "role",
    "kind",
    "internal_generated",
    "content",
    "original_content",
    "created_at",
    "rating",
    "reward_intensity",
    "reward_observed",
    "loss",
    "model_name",
)


@dataclass(slots=True)
class Addition:
    """Messages to add to a conversation; `key_of` holds the keys of stored messages by their external id."""

    conversation_id: int
    parsed: ParsedConversation
    messages: Sequence[ParsedMessage]
    key_of: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Rows:
    """What one round of conversations adds and changes; each change is a row's key with its new values.

    `changed` are the keys of stored conversations to which it brings anything.
    """

    changed: list[int] = field(default_factory=list)
    conversations: list[tuple[Any, ...]] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    branches: list[tuple[int, bool]] = field(default_factory=list)
    rewards: list[tuple[int, int | None, float, bool]] = field(default_factory=list)
    texts: list[tuple[int, str, str]] = field(default_factory=list)
    consents: list[tuple[int, bool]] = field(default_factory=list)
    headings: list[tuple[int, str, datetime | None, datetime | None]] = field(default_factory=list)

    def added_messages(self) -> int:
        """Return how many messages are new."""
        return sum(len(addition.messages) for addition in self.additions)

    def changes(self) -> int:
        """Return how many stored messages change, and how many consents are withdrawn."""
        changed = {pk for pk, *_ in [*self.branches, *self.rewards, *self.texts]}
        return len(changed) + len(self.consents)

    def write(self, *, now: datetime, using: str) -> None:
        """Write everything, by one statement a table and kind of change.

        `now` is the time of a message where neither it nor its conversation has one.
        """
        if self.changed:
            # First, as it locks them in the order in which extraction does.
            Conversation.objects.using(using).filter(pk__in=key_list(self.changed, using=using)).note_changed()
        insert_rows(Conversation, _CONVERSATION_COLUMNS, self.conversations, using=using)
        insert_rows(Message, _MESSAGE_COLUMNS, self._message_rows(now, using), using=using)
        update_rows(Message, ("is_active_branch",), self.branches, using=using)
        update_rows(Message, ("rating", "reward_intensity", "reward_observed"), self.rewards, using=using)
        update_rows(Message, ("content", "original_content"), self.texts, using=using)
        update_rows(Conversation, ("training_allowed",), self.consents, using=using)
        update_rows(Conversation, ("title", "started_at", "updated_at"), self.headings, using=using)

    def _message_rows(self, now: datetime, using: str) -> Iterable[tuple[Any, ...]]:
        ids = iter(reserve_ids(Message, self.added_messages(), using=using) if self.additions else ())
        for addition in self.additions:
            key_of = addition.key_of
            moment = span(addition.parsed)[1] or now
            for message in addition.messages:
                pk = key_of[message.external_id] = next(ids)
                logged, rating = message.reward_intensity, message.rating
                yield (
                    pk,
                    addition.conversation_id,
                    key_of[message.parent_id] if message.parent_id is not None else None,
                    message.external_id,
                    message.branch_position,
                    message.is_active_branch,
                    message.role,
                    message.kind,
                    message.internal_generated,
                    message.content,
                    message.original_content,
                    message.created_at or moment,
                    rating,
                    rules.reward_of(logged=logged, rating=rating),
                    logged is not None or rating is not None,
                    message.loss,
                    message.model_name,
                )


def conversation_row(pk: int, parsed: ParsedConversation, import_batch_id: int | None) -> tuple[Any, ...]:
    """Return the row of a new conversation."""
    started_at, updated_at = span(parsed)
    return (
        pk,
        parsed.source_system,
        parsed.external_id,
        parsed.title,
        parsed.participant,
        parsed.training_allowed,
        started_at,
        updated_at,
        dict(parsed.metadata),
        import_batch_id,
    )


def span(parsed: ParsedConversation) -> tuple[datetime | None, datetime | None]:
    """Return when a conversation started and when it was last updated, from its messages where it does not say."""
    if parsed.started_at is not None and parsed.updated_at is not None:
        return parsed.started_at, parsed.updated_at
    times = [message.created_at for message in parsed.messages if message.created_at is not None]
    return (
        parsed.started_at or min(times, default=parsed.updated_at),
        parsed.updated_at or max(times, default=parsed.started_at),
    )
