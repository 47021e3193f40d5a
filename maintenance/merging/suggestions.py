"""What is put before a person: which of two pairs is suggested, and in which facts they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from maintenance.merging.candidates import Pool, read_texts
from maintenance.merging.channels import Channel, PairTexts
from maintenance.merging.ranking import Numbers
from maintenance.models import Proposal
from memory.extraction.facts import difference_in_facts, differs_in_facts
from memory.text import normalised

# What the column holds.
_LONGEST_REASON = 255
TURNED_ROUND = "chosen and rejected are the other way round"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two pairs of one channel by their keys, the newer one suggested, with the texts of both."""

    newer: int
    older: int
    kind: Proposal.Kind
    reason: str
    texts: tuple[PairTexts, PairTexts]


def suggestions(
    channel: Channel, pool: Pool, first: Numbers, second: Numbers, *, using: str
) -> Iterator[Suggestion | None]:
    """Yield what to suggest of each two candidates, by their numbers, shape (k,); None where there is nothing.

    As where one is gone by now, or both agree in facts. Of two that were said at once the better ranked one counts as
    the newer.
    """
    numbers = np.union1d(first, second)
    keys = pool.candidates["pair"][numbers]
    by_key = dict(zip(keys.tolist(), numbers.tolist(), strict=True))
    texts = {
        by_key[key]: each
        for found, portion in read_texts(channel, keys, using=using)
        for key, each in zip(found.tolist(), portion, strict=True)
    }
    said = pool.candidates["said"]
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        newer, older = sorted((one, other), key=lambda number: (-said[number], number))
        if newer not in texts or older not in texts:
            yield None
        else:
            yield _suggestion(
                int(pool.candidates["pair"][newer]), texts[newer], int(pool.candidates["pair"][older]), texts[older]
            )


def _suggestion(newer: int, mine: PairTexts, older: int, others: PairTexts) -> Suggestion | None:
    reason = TURNED_ROUND if _is_turned_round(mine, others) else difference_in_facts(mine.told, others.told)
    if not reason:
        return None
    is_correction = differs_in_facts(mine.question, others.question)
    return Suggestion(
        newer=newer,
        older=older,
        kind=Proposal.Kind.CORRECTION if is_correction else Proposal.Kind.CONTRADICTION,
        reason=reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…",
        texts=(mine, others),
    )


def _is_turned_round(one: PairTexts, other: PairTexts) -> bool:
    mine, others = (
        (normalised(one.answer), normalised(one.rejected)),
        (normalised(other.rejected), normalised(other.answer)),
    )
    return mine == others
