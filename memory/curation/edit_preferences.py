"""The preference pair that an edited response makes: the answer as a person wants it over the original.

It is the newest text over the original, which is what the machine stored last. An earlier edit's pair makes way for it,
unless training has used that one or somebody has changed it: then it stays. Where the response is the original again,
there is none. An edit of nothing but case, spacing and punctuation makes none, as in extraction, and neither does
introspection, which has no place in the reward channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memory.curation.writing import database_of
from memory.extraction.preferences import CONFIDENCE_EDIT, same_words
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import differing_columns, record
from memory.models import PreferencePair, ReviewStatus, SftPair
from memory.text import preference_hash

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


def follow(pair: SftPair, *, former: str, user: User | AnonymousUser | None) -> int | None:
    """Let the preference pair of `pair` follow its response, which was `former`; return the key of a new one.

    To be called in the transaction that changed the response, with the change on record.
    """
    original = original_response(pair)
    if former != original:
        _withdraw(pair, former, original, user=user)
    if pair.source == SftPair.Source.INTROSPECTION or pair.response == original or same_words(pair.response, original):
        return None
    return _store(pair, original, user=user)


def original_response(pair: SftPair) -> str:
    """Return the response before people edited it: what was stored first, or what extraction made of it later."""
    original = latest = pair.response
    records = SftPair.history.using(database_of(pair)).filter(id=pair.pk).order_by("history_id")
    for kind, reason, response in records.values_list("history_type", "history_change_reason", "response"):
        # Extraction also renews the scores of a pair whose text is a person's.
        if kind == "+" or (reason == BY_EXTRACTION and response != latest):
            original = response
        latest = response
    return original


def _store(pair: SftPair, original: str, *, user: User | AnonymousUser | None) -> int | None:
    using = database_of(pair)
    made = PreferencePair(
        conversation_id=pair.conversation_id,
        prompt=pair.prompt,
        chosen=pair.response,
        rejected=original,
        source=PreferencePair.Source.EDIT,
        # No message has said what is chosen. Both answers have the reward of the one message, as in extraction.
        rejected_message_id=pair.assistant_message_id,
        margin=0.0,
        confidence=CONFIDENCE_EDIT,
        review_status=ReviewStatus.APPROVED,
        created_at=pair.created_at,
    )
    pairs = PreferencePair.objects.using(using)
    if not pairs.insert([made], skip_existing=True):
        return None
    stored = pairs.filter(content_hash=made.content_hash)
    record(stored, kind="+", user=user, reason=_reason(pair))
    return stored.values_list("pk", flat=True).get()


def _withdraw(pair: SftPair, chosen: str, rejected: str, *, user: User | AnonymousUser | None) -> None:
    """Delete the preference pair that an earlier edit made, if it is as that left it and stands for no other one."""
    using = database_of(pair)
    content_hash = preference_hash(pair.prompt, chosen, rejected)
    found: Any = PreferencePair.objects.using(using).select_for_update().filter(content_hash=content_hash).first()
    if found is None:
        return
    records = list(PreferencePair.history.using(using).filter(id=found.pk)[:2])
    if [each.history_change_reason for each in records] != [_reason(pair)]:
        return
    if differing_columns(records[0], found) or found.merged_pairs.exists():
        return
    found._history_user = user if user is not None and user.pk is not None else None
    found._change_reason = f"followed the response of memory pair {pair.pk}"
    found.delete()


def _reason(pair: SftPair) -> str:
    return f"made by an edit of memory pair {pair.pk}"
