"""Ratings that came apart from their messages, joined to the messages that are stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from memory.bulk import key_list, text_list, update_rows
from memory.importers.records import ParsedFeedback, Skipped
from memory.importing.merging import STORED_COLUMNS, StoredMessage
from memory.models import Conversation, Message


@dataclass(slots=True)
class RatingOutcome:
    """How many messages changed, how many ratings were known, and those that fit no stored message."""

    updated: int = 0
    already_present: int = 0
    unmatched: list[Skipped] = field(default_factory=list)


def store_ratings(ratings: Sequence[ParsedFeedback], *, using: str) -> RatingOutcome:
    """Put each rating on the message it names; of two for one message the later counts."""
    outcome = RatingOutcome()
    if not ratings:
        return outcome
    candidates = _candidates(ratings, using)
    changes: dict[int, tuple[int | None, float, bool]] = {}
    for rating in ratings:
        named = candidates.get((rating.source_system, rating.message_id), [])
        messages = [
            message
            for conversation_id, message in named
            if not rating.conversation_id or conversation_id == rating.conversation_id
        ]
        if not messages:
            place = f" in conversation {rating.conversation_id}" if rating.conversation_id else ""
            outcome.unmatched.append(
                Skipped(rating.where, f"rating of message {rating.message_id}{place}: no such message is stored")
            )
        for message in messages:
            renewed = message.renewed_reward(rating=rating.rating, logged=None)
            if renewed is None:
                outcome.already_present += 1
            else:
                changes[message.pk] = renewed
                message.rating, message.reward_intensity, message.reward_observed = renewed
    rated = Message.objects.using(using).filter(pk__in=key_list(list(changes), using=using))
    Conversation.objects.using(using).filter(pk__in=rated.values("conversation_id")).note_changed()
    columns = ("rating", "reward_intensity", "reward_observed")
    update_rows(Message, columns, [(pk, *change) for pk, change in changes.items()], using=using)
    outcome.updated = len(changes)
    return outcome


def _candidates(
    ratings: Sequence[ParsedFeedback], using: str
) -> dict[tuple[str, str], list[tuple[str, StoredMessage]]]:
    """Return the stored messages that carry an id that was rated, by source system and id, with their conversation."""
    by_system: defaultdict[str, list[ParsedFeedback]] = defaultdict(list)
    for rating in ratings:
        by_system[rating.source_system].append(rating)
    found: defaultdict[tuple[str, str], list[tuple[str, StoredMessage]]] = defaultdict(list)
    for system, rated in by_system.items():
        messages = Message.objects.using(using).filter(
            conversation__source_system=system,
            external_id__in=text_list([rating.message_id for rating in rated], using=using),
        )
        conversations = {rating.conversation_id for rating in rated}
        if "" not in conversations:
            # The index on messages begins with the conversation.
            messages = messages.filter(conversation__external_id__in=text_list(sorted(conversations), using=using))
        columns = ("conversation__external_id", "external_id", *STORED_COLUMNS)
        for row in messages.order_by().values_list(*columns):
            conversation_id, external_id, *_ = row
            found[system, external_id].append((conversation_id, StoredMessage(*row[2:])))
    return found
