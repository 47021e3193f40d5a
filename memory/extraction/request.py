"""What a run of the extraction is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Exists, OuterRef, Q

from memory.models import Conversation, Message
from memory.models.querysets import ConversationQuerySet

# Messages a transaction, and never less than one conversation. Larger ones hold more in memory, and the write lock
# longer; smaller ones write the pages of every index more often.
BATCH_MESSAGES = 8_000
# Conversations that an ambiguous name is explained with.
SHOWN_CONVERSATIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which conversations are meant: all, or one (`conversation_id`, a primary key), or those `since` a moment.

    With `since` only turns count in which something was said at or after that moment.
    """

    conversation_id: int | None = None
    since: datetime | None = None

    def conversations(self, *, using: str = DEFAULT_DB_ALIAS) -> ConversationQuerySet:
        """Return the conversations that are meant, in the order of their primary keys."""
        found = Conversation.objects.using(using).order_by("pk")
        if self.conversation_id is not None:
            found = found.filter(pk=self.conversation_id)
        if self.since is not None:
            recent = Message.objects.filter(conversation_id=OuterRef("pk"), created_at__gte=self.since)
            found = found.filter(Exists(recent))
        return found

    def count(self, *, using: str = DEFAULT_DB_ALIAS) -> int:
        """Return how many conversations are meant."""
        return self.conversations(using=using).count()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionOptions:
    """How to extract.

    Attributes:
        include_context: keep the dialogue before each instruction with its pairs.
        include_introspection: let introspection into the memory channel even if the live switch is off.
        skip_existing: leave stored pairs alone; otherwise their texts and scores are brought up to date.
        only_changed: pass over conversations in which nothing changed since they were extracted the same way.
        dry_run: do everything, then take it back.
        batch_messages: messages a transaction; a conversation is never divided.

    """

    include_context: bool = False
    include_introspection: bool = False
    skip_existing: bool = True
    only_changed: bool = False
    dry_run: bool = False
    batch_messages: int = BATCH_MESSAGES


class UnknownConversationError(LookupError):
    """A name that belongs to no conversation, or to several; says which."""


def conversation_named(name: str, *, using: str = DEFAULT_DB_ALIAS) -> int:
    """Return the primary key of the conversation whose external id or primary key is `name`.

    Raises:
        UnknownConversationError: if there is none, or more than one.

    """
    key = Q(pk=int(name)) if name.isascii() and name.isdigit() and len(name) < 19 else Q()
    found = Conversation.objects.using(using).filter(Q(external_id=name) | key if key else Q(external_id=name))
    rows = list(found.order_by("pk").values_list("pk", "source_system", "external_id")[:SHOWN_CONVERSATIONS])
    if not rows:
        raise UnknownConversationError(f"got {name!r}, allowed the id or the external id of a stored conversation")
    if len(rows) > 1:
        matches = ", ".join(f"{pk} ({source} {external_id})" for pk, source, external_id in rows)
        raise UnknownConversationError(
            f"got {name!r}, which fits several conversations; allowed the id of one: {matches}"
        )
    return int(rows[0][0])
