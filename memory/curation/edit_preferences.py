"""The preference pair that an edited answer makes: the answer as a person wants it over the original.

The answer is the response of a memory pair, the chosen one of a preference pair: a rejected one that was edited is
still the worse one. The new pair has the newest text over the original, which is what the machine stored last, as
answers to the prompt that the pair has now. What an edit of either made before makes way for it, unless training has
used that one or somebody has changed it: then it stays. Where the answer is the original again, there is none. An edit
of nothing but case, spacing and punctuation makes none, as in extraction. Neither does one of introspection, which has
no place in the reward channel, nor of a pair that has an edited answer over its original already. Pairs of one channel
with the same texts that were edited alike have one together, which goes with the last of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.db.models import Exists, OuterRef, QuerySet

from memory.curation.writing import database_of
from memory.extraction.preferences import CONFIDENCE_EDIT, same_words
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import differing_columns, record
from memory.models import PreferencePair, ReviewStatus, SftPair, TrainingPair
from memory.text import preference_hash

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


_Pair = SftPair | PreferencePair
# The answers of a pair, the one first whose edit makes a preference.
_ANSWERS: Mapping[type[TrainingPair], tuple[str, ...]] = {
    SftPair: ("response",),
    PreferencePair: ("chosen", "rejected"),
}
# Sources of pairs whose edits make none.
_WITHOUT = (SftPair.Source.INTROSPECTION, PreferencePair.Source.EDIT)


def follow(pair: TrainingPair, *, former: TrainingPair, user: User | AnonymousUser | None) -> int | None:
    """Let the preference pair that edits of `pair` made follow its texts; return the key of a new one.

    `former` is the pair as it was. To be called in the transaction that changed the pair, with the change on record.
    """
    pair, former = cast(_Pair, pair), cast(_Pair, former)
    if (pair.prompt, _answer(pair)) == (former.prompt, _answer(former)):
        return None
    original = original_answer(pair)
    if _answer(former) != original:
        _withdraw(former, original, user=user)
    if pair.source in _WITHOUT or same_words(_answer(pair), original):
        return None
    return _store(pair, original, user=user)


def original_answer(pair: _Pair) -> str:
    """Return the answer before people edited it: what was stored first, or what extraction made of it later."""
    names = _ANSWERS[type(pair)]
    originals: list[str] = [getattr(pair, name) for name in names]
    latest = originals
    records = type(pair).history.using(database_of(pair)).filter(id=pair.pk).order_by("history_id")
    for kind, reason, *answers in records.values_list("history_type", "history_change_reason", *names):
        # Extraction also renews the scores of a pair whose text is a person's.
        if kind == "+" or (reason == BY_EXTRACTION and answers != latest):
            originals = answers
        # Swapped answers take their originals along, and back when that is undone.
        elif answers == latest[::-1]:
            originals = originals[::-1]
        latest = answers
    return originals[0]


def _answer(pair: _Pair) -> str:
    return pair.response if isinstance(pair, SftPair) else pair.chosen


def _store(pair: _Pair, original: str, *, user: User | AnonymousUser | None) -> int | None:
    using = database_of(pair)
    made = PreferencePair(
        conversation_id=pair.conversation_id,
        prompt=pair.prompt,
        chosen=_answer(pair),
        rejected=original,
        source=PreferencePair.Source.EDIT,
        # No message has said what is chosen. Both answers have the reward of the one message, as in extraction.
        rejected_message_id=pair.assistant_message_id if isinstance(pair, SftPair) else pair.chosen_message_id,
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


def _withdraw(former: _Pair, original: str, *, user: User | AnonymousUser | None) -> None:
    """Delete the preference pair that an earlier edit made, if it is as that left it and stands for no other one."""
    using = database_of(former)
    content_hash = preference_hash(former.prompt, _answer(former), original)
    found: Any = PreferencePair.objects.using(using).select_for_update().filter(content_hash=content_hash).first()
    if found is None:
        return
    records = list(PreferencePair.history.using(using).filter(id=found.pk)[:2])
    if [each.history_change_reason for each in records] != [_reason(former)]:
        return
    if differing_columns(records[0], found) or found.merged_pairs.exists():
        return
    found._history_user = user if user is not None and user.pk is not None else None
    found._change_reason = f"followed the texts of {_name(former)}"
    found.delete()
    _hand_over(former, original, user=user)


def _hand_over(former: _Pair, original: str, *, user: User | AnonymousUser | None) -> None:
    """Let a pair of the same texts, edited from the same original, have the preference pair that `former` had."""
    for twin in _alike(former, original).exclude(pk=former.pk).exclude(source__in=_WITHOUT).order_by("pk"):
        if original_answer(twin) == original and _store(twin, original, user=user) is not None:
            return


def _alike(former: _Pair, original: str) -> QuerySet[Any]:
    """Return pairs with prompt and answer of `former` whose answer was `original` once."""
    using, key = database_of(former), OuterRef("pk")
    if isinstance(former, SftPair):
        once = SftPair.history.filter(id=key, response=original)
        return SftPair.objects.using(using).filter(Exists(once), content_hash=former.content_hash)
    once = PreferencePair.history.filter(id=key, chosen=original)
    pairs = PreferencePair.objects.using(using).filter(Exists(once), conversation=former.conversation_id)
    # Their hash is over what is rejected, too.
    return pairs.filter(prompt=former.prompt, chosen=former.chosen)


def _reason(pair: _Pair) -> str:
    return f"made by an edit of {_name(pair)}"


def _name(pair: _Pair) -> str:
    return f"{'memory' if isinstance(pair, SftPair) else 'preference'} pair {pair.pk}"
