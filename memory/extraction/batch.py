"""One batch of conversations as the database holds it, locked and read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery

from memory.bulk import key_list
from memory.extraction.turns import MessageTree, TurnMessage
from memory.models import Conversation, ExportedPair, Message, PreferencePair, SftPair

# Under this key a pair keeps what it stands for: a list of `message` (id), `reason` and `similarity`.
COLLAPSED = "collapsed_drafts"

# Conversations a batch: what bounds one of empty conversations.
MAX_CONVERSATIONS = 2_000


@dataclass(frozen=True, slots=True)
class StoredPair:
    """What is stored for one assistant message: the pair's key, source and metadata."""

    pk: int
    source: str
    metadata: dict[str, Any]


@dataclass(slots=True)
class Batch:
    """Conversations, those with consent as trees, with what was made of them before.

    `keys` are all of them, in their order, at least one.
    `pairs` is by assistant message; `collapsed` says of each message that another one stands for why it was dropped;
    `preferences` is by the set of its two messages, one for an edit.
    """

    keys: Sequence[int]
    refused_turns: int = 0
    trees: dict[int, MessageTree] = field(default_factory=dict)
    pairs: dict[int, StoredPair] = field(default_factory=dict)
    collapsed: dict[int, str] = field(default_factory=dict)
    preferences: dict[frozenset[int], int] = field(default_factory=dict)


def read_batch(conversations: QuerySet[Conversation], *, after: int, messages: int, using: str) -> Batch | None:
    """Return the next of `conversations` with a primary key above `after`, or None if there are none.

    They have `messages` messages together at most, or are one that has more. Six queries at most, whatever the count.
    To be called in a transaction: the conversations are locked, so that of two runs at once one waits, and then finds
    the rows of the other.
    """
    counts = Message.objects.using(using).filter(conversation=OuterRef("pk")).order_by().values("conversation")
    found = conversations.filter(pk__gt=after).order_by("pk").select_for_update()
    rows = list(
        found.annotate(messages_count=Subquery(counts.values(count=Count("pk")))).values_list(
            "pk", "training_allowed", "messages_count"
        )[:MAX_CONVERSATIONS]
    )
    totals = accumulate(count or 0 for *_, count in rows)
    rows = [row for row, total in zip(rows, totals, strict=True) if row is rows[0] or total <= messages]
    if not rows:
        return None
    batch = Batch([key for key, *_ in rows])
    allowed = [key for key, consent, _ in rows if consent]
    if refused := [key for key, consent, _ in rows if not consent]:
        answers = Message.objects.using(using).filter(role=Message.Role.ASSISTANT, kind=Message.Kind.DIALOGUE)
        batch.refused_turns = answers.filter(conversation__in=key_list(refused, using=using)).count()
    if allowed:
        keys = key_list(allowed, using=using)
        said = Message.objects.using(using).filter(conversation__in=keys).order_by("conversation_id", "id")
        batch.trees = _trees(said.values_list("conversation_id", *TurnMessage._fields).iterator())
        _take_exported(batch, ExportedPair.objects.using(using).away().filter(message__conversation__in=keys))
        pairs = SftPair.objects.using(using).filter(assistant_message__conversation__in=keys)
        _take_pairs(batch, pairs.values_list("assistant_message_id", "pk", "source", "metadata"))
        preferences = PreferencePair.objects.using(using).filter(chosen_message__conversation__in=keys)
        batch.preferences |= {
            frozenset(compared): pk
            for pk, *compared in preferences.values_list("pk", "chosen_message_id", "rejected_message_id")
        }
    return batch


def _trees(rows: Iterable[tuple[Any, ...]]) -> dict[int, MessageTree]:
    return {
        conversation: MessageTree(TurnMessage._make(row[1:]) for row in group)
        for conversation, group in groupby(rows, key=itemgetter(0))
    }


def _take_exported(batch: Batch, exported: QuerySet[ExportedPair]) -> None:
    """Let pairs that lie in an archive file stand for their messages as stored ones do."""
    rows = exported.values_list("channel", "pair_id", "message_id", "other_message_id", "collapsed")
    for channel, pk, message, other, collapsed in rows:
        if channel == ExportedPair.Channel.PREFERENCE:
            batch.preferences[frozenset((message, other))] = pk
        else:
            _take_pairs(batch, [(message, pk, "", {COLLAPSED: collapsed})])


def _take_pairs(batch: Batch, rows: Iterable[tuple[Any, ...]]) -> None:
    for message, pk, source, metadata in rows:
        batch.pairs[message] = StoredPair(pk, source, metadata)
        for entry in metadata.get(COLLAPSED, ()):
            batch.collapsed[entry["message"]] = entry["reason"]
