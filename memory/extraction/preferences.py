"""Preferences of one turn: which answer was liked better than which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memory import rules
from memory.extraction.drafts import best_first
from memory.extraction.facts import differs_in_facts
from memory.extraction.turns import TurnMessage
from memory.text import normalised, trimmed

Source = Literal["rating", "regeneration", "edit", "replay"]

# How sure it is that the chosen answer is the better one: a person said so of both, of both in degrees, of one;
# corrected it; left the other one behind; rated the two on different days.
CONFIDENCE_UP_AGAINST_DOWN = 1.0
CONFIDENCE_BOTH_OBSERVED = 0.9
CONFIDENCE_ONE_OBSERVED = 0.7
CONFIDENCE_EDIT = 0.9
CONFIDENCE_REPLAY = 0.8
CONFIDENCE_REGENERATION = 0.6

# Rewards of two days that lie closer than this say nothing about which answer was better.
REPLAY_MARGIN = 0.3
ROUNDING = 1e-9
# A prompt that is asked every day would give pairs without end: its best answer is set against this many at most.
REPLAY_PAIRS_PER_PROMPT = 4

# Marks of a sentence. Those of code and of numbers ("3.5", "-5", "a[0]") are left alone, for they mean something.
_PUNCTUATION = re.compile(r"[.,;:!?…\"'“”‘’«»¡¿—–]+(?!\d)")


@dataclass(frozen=True, slots=True)
class Preference:
    """One answer preferred over another; both ids are the same where a person edited an answer.

    `margin` in [0, 1] is by how much the chosen answer's reward is higher, `confidence` in [0, 1] how sure that is.
    """

    source: Source
    chosen: str
    rejected: str
    chosen_id: int
    rejected_id: int
    margin: float
    confidence: float
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Experience:
    """One rated answer of the replay buffer; `message_id` is the answer's, `reward_intensity` lies in [0, 1]."""

    message_id: int
    conversation_id: int
    prompt: str
    response: str
    reward_intensity: float
    created_at: datetime


def turn_preferences(answers: Sequence[TurnMessage], *, prefer_kept_branch: bool) -> list[Preference]:
    """Return what the `answers` to one user message say about each other.

    An edited answer is preferred over its original. The best rated answer is preferred over each worse one, rather
    than every answer over every worse one: n answers give at most n - 1 such pairs. With `prefer_kept_branch` the
    answer that the person went on from is preferred over the drafts beside it that no reward tells apart from it.
    """
    edited = [answer for answer in answers if answer.original_content and trimmed(answer.original_content)]
    found = [_preference("edit", answer, answer, CONFIDENCE_EDIT) for answer in edited]
    if len(answers) < 2:
        return found
    best, *others = sorted(answers, key=best_first)
    for worse in others:
        if best.reward_intensity > worse.reward_intensity and (best.reward_observed or worse.reward_observed):
            found.append(_preference("rating", best, worse, _rating_confidence(best, worse)))
    return found + (_kept_over_abandoned(answers) if prefer_kept_branch else [])


def replay_preferences(entries: Iterable[Experience]) -> list[tuple[Experience, Preference]]:
    """Return what the `entries` of one prompt say about each other, each with the entry that is preferred.

    The best one is preferred over those of other conversations whose reward is lower by `REPLAY_MARGIN` or more, the
    `REPLAY_PAIRS_PER_PROMPT` worst of them. Within a conversation `turn_preferences` has spoken.
    """
    ranked = sorted(
        entries, key=lambda entry: (-entry.reward_intensity, -entry.created_at.timestamp(), entry.message_id)
    )
    if not ranked:
        return []
    best = ranked[0]
    # Rewards such as 0.7 and 0.4 differ by a little less than 0.3 in binary.
    worse = [
        entry
        for entry in ranked
        if entry.conversation_id != best.conversation_id
        and best.reward_intensity - entry.reward_intensity >= REPLAY_MARGIN - ROUNDING
    ]
    return [(best, _replay_preference(best, entry)) for entry in worse[::-1][:REPLAY_PAIRS_PER_PROMPT]]


def same_words(chosen: str, rejected: str) -> bool:
    """Return whether two answers are the same but for case, spacing and punctuation."""
    return _plain(chosen) == _plain(rejected)


def needs_similarity(preference: Preference) -> bool:
    """Return whether only the vectors of both answers tell if they are too alike to prefer one.

    Answers of the same words always are; answers that differ in a number, a name, a date or a negation never are, for
    that may be what was preferred.
    """
    return not same_words(preference.chosen, preference.rejected) and not differs_in_facts(
        preference.chosen, preference.rejected
    )


def near_identical(preference: Preference, similarity: Callable[[str, str], float]) -> bool:
    """Return whether two answers are too alike to prefer one.

    `similarity` returns the cosine of two texts, in [-1, 1]; it is asked only where `needs_similarity` says so.
    """
    if not needs_similarity(preference):
        return same_words(preference.chosen, preference.rejected)
    return similarity(preference.chosen, preference.rejected) > rules.DRAFT_SIMILARITY_THRESHOLD


def _kept_over_abandoned(answers: Sequence[TurnMessage]) -> list[Preference]:
    found = []
    siblings: dict[int | None, list[TurnMessage]] = {}
    for answer in sorted(answers, key=best_first):
        siblings.setdefault(answer.parent_id, []).append(answer)
    for group in siblings.values():
        kept = [answer for answer in group if answer.is_active_branch]
        if len(kept) != 1:
            continue
        found += [
            _preference("regeneration", kept[0], abandoned, CONFIDENCE_REGENERATION)
            for abandoned in group
            if not abandoned.is_active_branch and abandoned.reward_intensity == kept[0].reward_intensity
        ]
    return found


def _replay_preference(best: Experience, worse: Experience) -> Preference:
    return Preference(
        source="replay",
        chosen=trimmed(best.response),
        rejected=trimmed(worse.response),
        chosen_id=best.message_id,
        rejected_id=worse.message_id,
        margin=best.reward_intensity - worse.reward_intensity,
        confidence=CONFIDENCE_REPLAY,
        created_at=best.created_at,
    )


def _preference(source: Source, chosen: TurnMessage, rejected: TurnMessage, confidence: float) -> Preference:
    return Preference(
        source=source,
        chosen=trimmed(chosen.content),
        rejected=trimmed(rejected.original_content if source == "edit" else rejected.content),
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        margin=chosen.reward_intensity - rejected.reward_intensity,
        confidence=confidence,
        created_at=chosen.created_at,
    )


def _rating_confidence(best: TurnMessage, worse: TurnMessage) -> float:
    if best.rating == 1 and worse.rating == -1:
        return CONFIDENCE_UP_AGAINST_DOWN
    return CONFIDENCE_BOTH_OBSERVED if best.reward_observed and worse.reward_observed else CONFIDENCE_ONE_OBSERVED


def _plain(text: str) -> str:
    # "don't" and "dont" are one word, "well,then" is two.
    return normalised(_PUNCTUATION.sub(" ", re.sub(r"(?<=\w)['’](?=\w)", "", text)))
