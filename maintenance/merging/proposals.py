"""Pairs that are alike and differ in a fact, put before a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.db import transaction
from django.utils import timezone

from maintenance.journal import create_rows
from maintenance.merging.candidates import Pool
from maintenance.merging.channels import Channel
from maintenance.merging.ranking import Numbers
from maintenance.merging.suggestions import Suggestion, suggestions
from maintenance.merging.writing import known_states, rows_as_read
from maintenance.models import Proposal
from maintenance.night import Night

# The longest list of proposals that is kept for the nights to come, in the marks of a step.
MOST_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class Alike:
    """Pairs of candidates that differ in a fact, by their numbers.

    Attributes:
        first: the better ranked one of each two, shape (k,).
        second: the other one, shape (k,).
        similarity: their cosine, shape (k,); 1 where the answers are the same ones the other way round.

    """

    first: Numbers
    second: Numbers
    similarity: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def among(self, chosen: npt.NDArray[np.bool_] | Numbers) -> Alike:
        """Return those of a mask, shape (k,), or of numbers in this list."""
        return Alike(self.first[chosen], self.second[chosen], self.similarity[chosen])


@dataclass(frozen=True, slots=True)
class Proposed:
    """What was proposed, each with the cosine of the two.

    And how many were not, as there were too many; of those the most similar, by their keys, with their cosine.
    """

    made: tuple[tuple[Suggestion, float], ...]
    beyond_budget: int
    waiting: tuple[tuple[int, int, float], ...]


def propose(night: Night, channel: Channel, pool: Pool, found: Alike, *, budget: int) -> Proposed:
    """Store at most `budget` proposals, the most similar pairs first.

    Two pairs that were ever proposed, in either order and whatever became of it, never are again, nor are pairs that
    stand for them. A pair that somebody changed since `pool` was read is left to another night.
    """
    if not len(found):
        return Proposed((), 0, ())
    new = found.among(~_is_proposed(channel, pool, found, using=night.using))
    new = new.among(np.lexsort((new.second, new.first, -new.similarity)))
    chosen, rest = new.among(np.arange(len(new)) < budget), new.among(np.arange(len(new)) >= budget)
    found_suggestions = suggestions(channel, pool, chosen.first, chosen.second, using=night.using)
    known = known_states(pool.candidates, np.union1d(chosen.first, chosen.second))
    wanted = [
        (each, similarity)
        for each, similarity in zip(found_suggestions, chosen.similarity.tolist(), strict=True)
        if each is not None
    ]
    with transaction.atomic(using=night.using):
        present = rows_as_read(channel, known, columns=(), using=night.using)
        made = [each for each in wanted if {each[0].newer, each[0].older} <= present.keys()]
        _store(night, channel, made)
    keys = pool.candidates["pair"]
    waiting = rest.among(np.arange(min(len(rest), MOST_WAITING)))
    return Proposed(
        tuple(made),
        len(rest),
        tuple(
            zip(
                keys[waiting.first].tolist(),
                keys[waiting.second].tolist(),
                [round(each, 6) for each in waiting.similarity.tolist()],
                strict=True,
            )
        ),
    )


def _store(night: Night, channel: Channel, made: Sequence[tuple[Suggestion, float]]) -> None:
    now, status = timezone.now(), Proposal.Status.OPEN
    columns = ("run_id", *channel.proposal, "kind", "reason", "similarity", "status", "created_at")
    rows = [
        (night.run.pk, each.newer, each.older, each.kind.value, each.reason, similarity, status.value, now)
        for each, similarity in made
    ]
    create_rows(night, Proposal, columns, rows)


def _is_proposed(channel: Channel, pool: Pool, found: Alike, *, using: str) -> npt.NDArray[np.bool_]:
    """Return which pairs a proposal names, or one of the pairs that they stand for, shape (k,)."""
    newer, older = (column.removesuffix("_id") for column in channel.proposal)
    rows = Proposal.objects.using(using).filter(**{f"{newer}__isnull": False}).order_by()
    named = rows.values_list(newer, f"{newer}__merged_into", older, f"{older}__merged_into")
    survivors = [
        (one_into or one, other_into or other) for one, one_into, other, other_into in named.iterator(chunk_size=5_000)
    ]
    numbers = pool.numbers(np.array(survivors, dtype=np.int64).reshape(-1, 2).ravel()).reshape(-1, 2)
    count = len(pool.candidates)
    known = numbers.min(axis=1) * count + numbers.max(axis=1)
    return np.isin(found.first * count + found.second, known[(numbers >= 0).all(axis=1)])
