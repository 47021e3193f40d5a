"""Preference pairs of the replay buffer: answers to one prompt on different days, of which one was rated higher."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from django.db import transaction
from django.db.models import F, Max, Min, Q, QuerySet

from memory.bulk import key_list, text_list
from memory.extraction.journal import ExtractionJournal, insert_journaled
from memory.extraction.preferences import (
    REPLAY_MARGIN,
    ROUNDING,
    Experience,
    Preference,
    near_identical,
    needs_similarity,
    replay_preferences,
)
from memory.extraction.report import ExtractionReport
from memory.extraction.request import Selection
from memory.extraction.vectors import VectorCache, VectorsMissingError
from memory.models import ExportedPair, PreferencePair, ReplayEntry

# Prompts a transaction.
PROMPTS = 500


def pair_replays(
    selection: Selection, *, vectors: VectorCache, using: str, journal: ExtractionJournal | None = None
) -> ExtractionReport:
    """Store the preference pairs of all prompts that were answered in the `selection`; return their counts.

    They follow from the whole buffer, not from what is new in it: run again, it finds the same ones and stores none.
    """
    report = ExtractionReport()
    after: str | None = ""
    while after is not None:
        try:
            with transaction.atomic(using=using):
                found, after = _pair_prompts(selection, after=after, vectors=vectors, using=using, journal=journal)
        except VectorsMissingError as missing:
            missing.make()
        else:
            report.add(found)
            vectors.forget()
    return report


def _pair_prompts(
    selection: Selection, *, after: str, vectors: VectorCache, using: str, journal: ExtractionJournal | None
) -> tuple[ExtractionReport, str | None]:
    """Pair the next prompts above `after`; return their counts, and the last of them if there may be more."""
    report = ExtractionReport()
    prompts = list(_rated_apart(selection, using=using).filter(prompt_hash__gt=after)[:PROMPTS])
    if not prompts:
        return report, None
    new = _new_preferences(prompts, using=using)
    vectors.require([text for _, found in new if needs_similarity(found) for text in (found.chosen, found.rejected)])
    pairs = []
    for best, preference in new:
        if near_identical(preference, vectors.similarity):
            report.dropped["preference_near_identical"] += 1
        else:
            pairs.append(_row(best, preference))
    if pairs:
        report.preference_pairs_created = insert_journaled(
            lambda: PreferencePair.objects.using(using).insert(pairs, skip_existing=True),
            PreferencePair,
            lambda: {"content_hash__in": text_list([pair.content_hash for pair in pairs], using=using)},
            journal=journal,
            using=using,
        )
    return report, prompts[-1] if len(prompts) == PROMPTS else None


def _experiences(using: str) -> QuerySet[ReplayEntry]:
    return (
        ReplayEntry.objects.using(using)
        .buffered()
        .filter(kind=ReplayEntry.Kind.EXPERIENCE, message__conversation__training_allowed=True)
    )


def _rated_apart(selection: Selection, *, using: str) -> QuerySet[ReplayEntry, str]:
    """Return the hashes of the prompts whose answers were rated far enough apart, in their order."""
    found = _experiences(using)
    if selection != Selection():
        answered = _experiences(using).filter(message__conversation__in=selection.conversations(using=using))
        found = found.filter(prompt_hash__in=answered.order_by().values("prompt_hash"))
    rewards = found.values("prompt_hash").annotate(best=Max("reward_intensity"), worst=Min("reward_intensity"))
    apart = rewards.filter(best__gte=F("worst") + REPLAY_MARGIN - ROUNDING)
    return apart.order_by("prompt_hash").values_list("prompt_hash", flat=True)


def _new_preferences(prompts: list[str], *, using: str) -> list[tuple[Experience, Preference]]:
    """Return the preferences of `prompts` that are not stored yet, each with the entry that is preferred."""
    entries = _experiences(using).filter(prompt_hash__in=text_list(prompts, using=using)).order_by("prompt_hash", "pk")
    rows = entries.values_list(
        "prompt_hash", "message_id", "message__conversation_id", "prompt", "response", "reward_intensity", "created_at"
    )
    found: list[tuple[Experience, Preference]] = []
    for _, group in groupby(rows, key=itemgetter(0)):
        found += replay_preferences(Experience(*row[1:]) for row in group)
    best = key_list([preference.chosen_id for _, preference in found], using=using)
    stored = PreferencePair.objects.using(using).filter(Q(chosen_message__in=best) | Q(rejected_message__in=best))
    known = {frozenset(pair) for pair in stored.values_list("chosen_message_id", "rejected_message_id")}
    exported = ExportedPair.objects.using(using).away().filter(Q(message__in=best) | Q(other_message__in=best))
    known |= {frozenset(pair) for pair in exported.values_list("message_id", "other_message_id")}
    return [
        (entry, preference)
        for entry, preference in found
        if frozenset((preference.chosen_id, preference.rejected_id)) not in known
    ]


def _row(best: Experience, preference: Preference) -> PreferencePair:
    return PreferencePair(
        conversation_id=best.conversation_id,
        prompt=[{"role": "user", "content": best.prompt}],
        chosen=preference.chosen,
        rejected=preference.rejected,
        source=preference.source,
        margin=preference.margin,
        confidence=preference.confidence,
        created_at=preference.created_at,
        chosen_message_id=preference.chosen_id,
        rejected_message_id=preference.rejected_id,
    )
