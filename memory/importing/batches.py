"""One batch of parsed records into the database, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connections, router, transaction

from memory.importers.records import ParsedConversation, ParsedFeedback, ParsedPreference, ParsedSftPair, Skipped
from memory.importing.conversations import store_conversations
from memory.importing.pairs import store_preferences, store_sft_pairs
from memory.importing.ratings import store_ratings
from memory.importing.reports import Counts
from memory.models import Conversation

# Imports on PostgreSQL take turns by this lock, batch by batch; on SQLite the write lock does the same.
_ADVISORY_LOCK = 6_402_377

Storable = ParsedConversation | ParsedPreference | ParsedSftPair | ParsedFeedback


@dataclass(slots=True)
class BatchOutcome:
    """The counts of a batch, and the records that the database's rules refused or that fit nothing stored."""

    counts: Counts = field(default_factory=Counts)
    skipped: list[Skipped] = field(default_factory=list)


def database() -> str:
    """Return the alias of the database that imports go to."""
    return router.db_for_write(Conversation)


def store_batch(records: Sequence[Storable], *, import_batch_id: int | None, now: datetime) -> BatchOutcome:
    """Store records of any kinds; ratings come last, so that they meet the messages of their own batch.

    `now` is the time of what has none.
    """
    using = database()
    outcome = BatchOutcome()
    with transaction.atomic(using=using):
        _take_turn(using)
        conversations = store_conversations(
            [each for each in records if isinstance(each, ParsedConversation)],
            import_batch_id=import_batch_id,
            now=now,
            using=using,
        )
        preferences = store_preferences([each for each in records if isinstance(each, ParsedPreference)], now=now)
        sft_pairs = store_sft_pairs([each for each in records if isinstance(each, ParsedSftPair)], now=now)
        ratings = store_ratings([each for each in records if isinstance(each, ParsedFeedback)], using=using)
    outcome.skipped = [*preferences.refused, *sft_pairs.refused, *ratings.unmatched]
    outcome.counts = Counts(
        conversations=conversations.conversations,
        messages=conversations.messages,
        preference_pairs=preferences.created,
        sft_pairs=sft_pairs.created,
        updated=conversations.updated + ratings.updated,
        already_present=sum(each.already_present for each in (conversations, preferences, sft_pairs, ratings)),
    )
    return outcome


def _take_turn(using: str) -> None:
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
