"""Ready-made pairs into rows of the training tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from memory.bulk import text_list
from memory.importers.records import ParsedPreference, ParsedSftPair, Skipped
from memory.models import ExportedPair, PreferencePair, SftPair

_Pair = TypeVar("_Pair", SftPair, PreferencePair)

# A ready-made pair says that one answer is liked and the other is not: a reward of 1 against one of 0.
IMPORTED_MARGIN = 1.0


@dataclass(slots=True)
class PairOutcome:
    """How many pairs are new, how many were stored before, and those that break a rule."""

    created: int = 0
    already_present: int = 0
    refused: list[Skipped] = field(default_factory=list)


def store_preferences(parsed: Sequence[ParsedPreference], *, now: datetime) -> PairOutcome:
    """Store preference pairs that are not stored yet; `now` is the time of those that have none."""
    outcome = PairOutcome()
    pairs: list[PreferencePair] = []
    for each in parsed:
        pair = PreferencePair(
            prompt=[dict(message) for message in each.prompt],
            chosen=each.chosen,
            rejected=each.rejected,
            source=PreferencePair.Source.IMPORT,
            margin=IMPORTED_MARGIN,
            created_at=each.created_at or now,
            metadata=dict(each.metadata),
        )
        _sort_in(pair, each.where, pairs, outcome)
    outcome.created = PreferencePair.objects.insert(pairs, skip_existing=True)
    outcome.already_present = len(pairs) - outcome.created
    return outcome


def store_sft_pairs(parsed: Sequence[ParsedSftPair], *, now: datetime) -> PairOutcome:
    """Store memory pairs whose text is not stored yet, with their usage; `now` is the time of those that have none."""
    outcome = PairOutcome()
    pairs: list[SftPair] = []
    for each in parsed:
        pair = SftPair(
            instruction=each.instruction,
            response=each.response,
            context=[dict(message) for message in each.context],
            source=SftPair.Source.IMPORT,
            category=each.category,
            confidence=each.confidence,
            reward_intensity=each.reward_intensity,
            loss=each.loss,
            created_at=each.created_at or now,
            metadata=dict(each.metadata),
            is_used=each.is_used,
            used_timestamp=each.used_timestamp or (now if each.is_used else None),
            training_epoch=each.training_epoch,
        )
        _sort_in(pair, each.where, pairs, outcome)
    new = _without_stored(pairs)
    outcome.created = SftPair.objects.insert(new)
    outcome.already_present = len(pairs) - outcome.created
    return outcome


def _sort_in(pair: _Pair, where: str, pairs: list[_Pair], outcome: PairOutcome) -> None:
    pair.prepare()
    problems = pair.problems()
    if problems:
        outcome.refused.append(Skipped(where, "; ".join(problems)))
    else:
        pairs.append(pair)


def _without_stored(pairs: Sequence[SftPair]) -> list[SftPair]:
    """Return the first pair of each text that no stored pair has; two conversations may share a text, imports not."""
    first = {pair.content_hash: pair for pair in reversed(pairs)}
    hashes = text_list(list(first), using=SftPair.objects.db)
    stored = set(SftPair.objects.filter(content_hash__in=hashes).values_list("content_hash", flat=True))
    # A text that lies in an archive file is stored too: a person may have rejected it.
    stored |= ExportedPair.objects.away().hashes(ExportedPair.Channel.SFT, list(first))
    return [pair for content_hash, pair in reversed(first.items()) if content_hash not in stored]
