"""The preference pair that an edited response makes: the answer as a person wants it over the original.

It is the newest text over the original, which is what the machine stored last, as answers to the prompt that the pair
has now. What an edit of either made before makes way for it, unless training has used that one or somebody has changed
it: then it stays. Where the response is the original again, there is none. An edit of nothing but case, spacing and
punctuation makes none, as in extraction, and neither does introspection, which has no place in the reward channel.
Pairs of the same texts that were edited alike have one together, which goes with the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef

from memory.curation.writing import database_of
from memory.extraction.preferences import CONFIDENCE_EDIT, same_words
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import differing_columns, record
from memory.models import PreferencePair, ReviewStatus, SftPair, TrainingPair
from memory.text import preference_hash

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


def follow(pair: TrainingPair, *, former: TrainingPair, user: User | AnonymousUser | None) -> int | None:
    """Let the preference pair of a memory pair follow its texts; return the key of a new one.

    `former` is the pair as it was. To be called in the transaction that changed the pair, with the change on record.
    """
    if not isinstance(pair, SftPair) or not isinstance(former, SftPair):
        return None
    if (pair.prompt, pair.response) == (former.prompt, former.response):
        return None
    original = original_response(pair)
    if former.response != original:
        _withdraw(former, original, user=user)
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


def _withdraw(former: SftPair, original: str, *, user: User | AnonymousUser | None) -> None:
    """Delete the preference pair that an earlier edit made, if it is as that left it and stands for no other one."""
    using = database_of(former)
    content_hash = preference_hash(former.prompt, former.response, original)
    found: Any = PreferencePair.objects.using(using).select_for_update().filter(content_hash=content_hash).first()
    if found is None:
        return
    records = list(PreferencePair.history.using(using).filter(id=found.pk)[:2])
    if [each.history_change_reason for each in records] != [_reason(former)]:
        return
    if differing_columns(records[0], found) or found.merged_pairs.exists():
        return
    found._history_user = user if user is not None and user.pk is not None else None
    found._change_reason = f"followed the texts of memory pair {former.pk}"
    found.delete()
    _hand_over(former, original, user=user)


def _hand_over(former: SftPair, original: str, *, user: User | AnonymousUser | None) -> None:
    """Let a pair of the same texts, edited from the same original, have the preference pair that `former` had."""
    original_once = SftPair.history.filter(id=OuterRef("pk"), response=original)
    alike = SftPair.objects.using(database_of(former)).filter(Exists(original_once), content_hash=former.content_hash)
    for twin in alike.exclude(pk=former.pk).exclude(source=SftPair.Source.INTROSPECTION).order_by("pk"):
        if original_response(twin) == original and _store(twin, original, user=user) is not None:
            return


def _reason(pair: SftPair) -> str:
    return f"made by an edit of memory pair {pair.pk}"
