"""Parsed conversations into rows: new ones whole, known ones by what they bring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from memory.bulk import reserve_ids, text_list
from memory.importers.records import ParsedConversation
from memory.importing.merging import merge
from memory.importing.rows import Addition, Rows, conversation_row
from memory.models import Conversation


@dataclass(slots=True)
class Outcome:
    """What came of conversations: rows that are new, stored rows that changed, records that brought nothing."""

    conversations: int = 0
    messages: int = 0
    updated: int = 0
    already_present: int = 0


def store_conversations(
    parsed: Sequence[ParsedConversation], *, import_batch_id: int | None, now: datetime, using: str
) -> Outcome:
    """Store conversations; to be called inside a transaction that holds off every other import.

    A conversation is known by source system and external id, a message by its external id in the conversation.
    `now` is the time of a message where neither it nor its conversation has one.
    """
    outcome = Outcome()
    for round_ in _rounds(parsed):
        stored = _stored(round_, using)
        rows = Rows()
        new = [each for each in round_ if _key(each) not in stored]
        if new:
            for pk, each in zip(reserve_ids(Conversation, len(new), using=using), new, strict=True):
                rows.conversations.append(conversation_row(pk, each, import_batch_id))
                rows.additions.append(Addition(pk, each, each.messages))
        known = [(stored[_key(each)], each) for each in round_ if _key(each) in stored]
        outcome.already_present += merge(known, rows, using=using)
        rows.write(now=now, using=using)
        outcome.conversations += len(new)
        outcome.messages += rows.added_messages()
        outcome.updated += rows.changes()
    return outcome


def _key(parsed: ParsedConversation) -> tuple[str, str]:
    return parsed.source_system, parsed.external_id


def _rounds(parsed: Sequence[ParsedConversation]) -> Iterator[list[ParsedConversation]]:
    """Yield the conversations in rounds in which none comes twice, so that each meets what came before it."""
    waiting = list(parsed)
    while waiting:
        seen: set[tuple[str, str]] = set()
        first: list[ParsedConversation] = []
        again: list[ParsedConversation] = []
        for each in waiting:
            (again if _key(each) in seen else first).append(each)
            seen.add(_key(each))
        yield first
        waiting = again


def _stored(parsed: Iterable[ParsedConversation], using: str) -> dict[tuple[str, str], Conversation]:
    by_system: defaultdict[str, list[str]] = defaultdict(list)
    for each in parsed:
        by_system[each.source_system].append(each.external_id)
    return {
        (found.source_system, found.external_id): found
        for system, external_ids in by_system.items()
        for found in Conversation.objects.using(using)
        .filter(source_system=system, external_id__in=text_list(external_ids, using=using))
        .defer("metadata")
    }
