"""Open proposals that name a pair which has been merged: they follow it to the pair that stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Q

from maintenance.journal import change_rows
from maintenance.merging.candidates import Pool
from maintenance.merging.channels import Channel
from maintenance.merging.suggestions import Suggestion, suggestions
from maintenance.merging.writing import known_states, rows_as_read
from maintenance.models import Proposal
from maintenance.night import ROWS_PER_TRANSACTION, Night
from memory.bulk import key_list


def follow_merges(night: Night, channel: Channel, pool: Pool) -> None:
    """Let open proposals name the pairs that stand for those they named, with what there is to say of these.

    Otherwise accepting one would let a fact stand that nobody learns, or fail. A proposal stays as it is where the
    same two were proposed by themselves, or agree in facts.
    """
    newer, older = (column.removesuffix("_id") for column in channel.proposal)
    stored = Proposal.objects.using(night.using)
    moved = stored.filter(Q(**{f"{newer}__merged_into__isnull": False}) | Q(**{f"{older}__merged_into__isnull": False}))
    columns = (newer, f"{newer}__merged_into", older, f"{older}__merged_into")
    rows = list(moved.filter(status=Proposal.Status.OPEN).order_by("pk").values_list("pk", *columns))
    for start in range(0, len(rows), ROWS_PER_TRANSACTION):
        _follow(night, channel, pool, rows[start : start + ROWS_PER_TRANSACTION])


def _follow(night: Night, channel: Channel, pool: Pool, rows: Sequence[Any]) -> None:
    keys = np.array([(one_into or one, other_into or other) for _, one, one_into, other, other_into in rows])
    numbers = pool.numbers(keys.ravel()).reshape(-1, 2)
    # A pair that may not be trained is not suggested, and a pair does not contradict itself.
    there = (numbers >= 0).all(axis=1) & (numbers[:, 0] != numbers[:, 1])
    found = suggestions(channel, pool, numbers[there, 0], numbers[there, 1], using=night.using)
    wanted = {
        pk: each
        for (pk, *_), each in zip(
            (row for row, is_there in zip(rows, there, strict=True) if is_there), found, strict=True
        )
        if each is not None
    }
    known = known_states(pool.candidates, np.unique(numbers[there]))
    among = Proposal.objects.using(night.using).open()
    with transaction.atomic(using=night.using):
        # Before the pairs, as people who accept proposals do: each would wait for the other else.
        locked = among.filter(pk__in=key_list(list(wanted), using=night.using)).order_by("pk")
        list(locked.select_for_update().values("pk"))
        present = rows_as_read(channel, known, columns=(), using=night.using)
        taken = _named(channel, list(known), using=night.using)
        changed = []
        for pk, each in wanted.items():
            pair = frozenset((each.newer, each.older))
            if pair <= present.keys() and pair not in taken:
                taken.add(pair)
                changed.append((pk, *_values(each)))
        change_rows(night, [*channel.proposal, "kind", "reason"], changed, among=among)


def _values(suggestion: Suggestion) -> tuple[int, int, str, str]:
    return suggestion.newer, suggestion.older, suggestion.kind.value, suggestion.reason


def _named(channel: Channel, keys: Sequence[int], *, using: str) -> set[frozenset[int]]:
    """Return the pairs of pairs that proposals name, of those that name one of `keys`."""
    newer, older = channel.proposal
    chosen = key_list(keys, using=using)
    rows = Proposal.objects.using(using).filter(Q(**{f"{newer}__in": chosen}) | Q(**{f"{older}__in": chosen}))
    return {frozenset(pair) for pair in rows.values_list(newer, older)}
