"""One channel's duplicates: found, written, and what is left put before a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from django.db import connections
from django.db.models import Max, QuerySet

from maintenance.merging.candidates import Pool, read_pool, read_vectors
from maintenance.merging.channels import Channel
from maintenance.merging.followers import unlike_followers
from maintenance.merging.greedy import DIFFERENT_FACTS, KEPT, Assignment, assign
from maintenance.merging.groups import merges
from maintenance.merging.judging import Comparer
from maintenance.merging.marks import FULL, NEW_WITH_ALL, ChannelMarks
from maintenance.merging.open_proposals import follow_merges
from maintenance.merging.proposals import Alike, Proposed, propose
from maintenance.merging.turned_round import turned_round
from maintenance.merging.writing import Written, write_merges
from maintenance.models import MaintenanceRun, RowChange
from maintenance.night import Night
from maintenance.similarity import SimilarPairs, similar_pairs
from memory.extraction.vectors import VectorCache
from memory.models import PreferencePair

# PostgreSQL hands out keys before their rows are to be seen: so many of the last ones are looked at again.
KEYS_LOOKED_AT_AGAIN = 10_000
# Pairs that differ in a fact, as where nothing but a number changes from day to day: more than these nobody reads.
MOST_ALIKE = 1_000_000

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """What was done in one channel.

    Attributes:
        comparison: `FULL` or `NEW_WITH_ALL`.
        compared: how many pairs were compared with all others.
        written: the merges.
        proposed: the proposals.
        undecided: pairs that could not be judged, as too many rejected answers had to be embedded.
        complete: whether every similar pair was found; see `SimilarPairs`.
        marks: for the next night.

    """

    comparison: str
    compared: int
    written: Written
    proposed: Proposed
    undecided: int
    complete: bool
    marks: ChannelMarks


def merge_channel(night: Night, channel: Channel, marks: ChannelMarks | None, *, budget: int) -> ChannelOutcome:
    """Merge the duplicates of a channel and propose at most `budget` pairs to a person.

    All pairs are compared where there are no `marks`, or the last such comparison is too long ago; else the new ones,
    those that somebody changed since, and those that were left, with all.
    """
    settings, version = night.config.merge, night.version()
    if marks is not None and marks.is_due(night.now, days=settings.full_every_days):
        marks = None
    # Before the pool is read: a pair that comes back in between is compared the next night.
    newest = channel.model.history.using(night.using).aggregate(newest=Max("history_id"))["newest"] or 0
    pool = read_pool(channel, version=version, using=night.using)
    is_new = _is_new(channel, pool, marks, using=night.using)
    found = _search(night, channel, pool, is_new)
    comparer = Comparer(
        channel=channel,
        pairs=pool.candidates["pair"][pool.compared],
        introspection=pool.candidates["introspection"][pool.compared],
        threshold=settings.similarity_threshold,
        vectors=VectorCache(night.load),
        using=night.using,
    )
    assignment = _assign(night, channel, found, comparer)
    planned = merges(pool, assignment)
    report = _progress(night, f"{channel.words}: merged")
    released = unlike_followers(night, channel, pool, planned, vectors=comparer.vectors)
    written = write_merges(night, channel, pool.candidates, planned, released=released, on_progress=report)
    follow_merges(night, channel, pool)
    alike = _alike(night, channel, pool, found, assignment, is_new, marks)
    stays = np.ones(len(pool.candidates), dtype=np.bool_)
    stays[planned.member] = False
    proposed = propose(night, channel, pool, alike.among(stays[alike.first] & stays[alike.second]), budget=budget)
    undecided = [row for row in sorted(comparer.undecided) if assignment.into[row] == KEPT]
    left = {*written.left, *written.released, *comparer.pairs[undecided].tolist()}
    highest = int(pool.candidates["embedding"].max(initial=0))
    return ChannelOutcome(
        comparison=FULL if marks is None else NEW_WITH_ALL,
        compared=int(is_new[pool.compared].sum()),
        written=written,
        proposed=proposed,
        undecided=len(undecided),
        complete=found.complete,
        marks=ChannelMarks(
            key=highest if marks is None else max(highest, marks.key),
            full_at=night.now if marks is None else marks.full_at,
            history=newest,
            run=night.run.pk,
            left=tuple(sorted(left)),
            waiting=proposed.waiting,
        ),
    )


def _is_new(channel: Channel, pool: Pool, marks: ChannelMarks | None, *, using: str) -> Mask:
    """Return which candidates have to be compared, shape (n,): those that were not yet, with their copies.

    Of those that somebody changed since nothing says whether they were there the last time.
    """
    if marks is None:
        return np.ones(len(pool.candidates), dtype=np.bool_)
    again = KEYS_LOOKED_AT_AGAIN if connections[using].vendor == "postgresql" else 0
    is_new = pool.candidates["embedding"] > marks.key - again
    changed = channel.model.history.using(using).filter(history_id__gt=marks.history - again)
    pairs = [
        *marks.left,
        *changed.order_by().values_list("id", flat=True).distinct(),
        *_released_since(channel, marks.run, using=using),
    ]
    numbers = pool.numbers(np.array(pairs, dtype=np.int64))
    is_new[numbers[numbers >= 0]] = True
    has_new = np.zeros(len(is_new), dtype=np.bool_)
    has_new[pool.leaders[is_new]] = True
    copies: Mask = has_new[pool.leaders]
    return copies


def _released_since(channel: Channel, run: int, *, using: str) -> QuerySet[RowChange, int]:
    """Return the keys of pairs that nights after `run` released: this one, and those that did not live to compare them.

    They were hidden behind another pair when the others were compared.
    """
    later = MaintenanceRun.objects.filter(pk__gt=run).order_by().values("pk")
    released = RowChange.objects.using(using).filter(
        run__in=later, step="merge", table=channel.model._meta.label_lower, undone_at=None, after__merged_into_id=None
    )
    return released.order_by().values_list("row_id", flat=True)


def _search(night: Night, channel: Channel, pool: Pool, is_new: Mask) -> SimilarPairs:
    """Return the similar pairs of rows of `pool.compared`, of which one is new."""
    new = is_new[pool.compared]
    if not new.any():
        none = np.empty(0, dtype=np.int32)
        return SimilarPairs(none, none, np.empty(0, dtype=np.float32), complete=True)
    vectors = read_vectors(
        channel,
        pool,
        version=night.version(),
        using=night.using,
        on_progress=_progress(night, f"{channel.words}: vectors read"),
    )
    report = _progress(night, f"{channel.words}: compared")
    return similar_pairs(
        vectors,
        threshold=night.config.merge.similarity_threshold,
        is_new=new,
        on_progress=lambda compared: report(compared / int(new.sum())),
    )


def _assign(night: Night, channel: Channel, found: SimilarPairs, comparer: Comparer) -> Assignment:
    rows = np.unique(np.concatenate([found.first, found.second]))
    comparer.prepare(rows, on_progress=_progress(night, f"{channel.words}: facts read"))
    report = _progress(night, f"{channel.words}: judged")
    return assign(found, count=len(comparer.pairs), judge=comparer.judge, on_progress=report)


def _alike(
    night: Night,
    channel: Channel,
    pool: Pool,
    found: SimilarPairs,
    assignment: Assignment,
    is_new: Mask,
    marks: ChannelMarks | None,
) -> Alike:
    """Return what is alike and differs in a fact: found now, turned round, waiting since an earlier night."""
    differ = np.flatnonzero(assignment.verdicts == DIFFERENT_FACTS)
    if len(differ) > MOST_ALIKE:
        least = np.partition(found.similarity[differ], -MOST_ALIKE)[-MOST_ALIKE]
        differ = differ[found.similarity[differ] >= least]
    first, second = pool.compared[found.first[differ]], pool.compared[found.second[differ]]
    parts = [Alike(first, second, found.similarity[differ])]
    if channel.model is PreferencePair:
        report = _progress(night, f"{channel.words}: turned round")
        first, second = turned_round(pool, np.flatnonzero(is_new), using=night.using, on_progress=report)
        parts.append(Alike(first, second, np.ones(len(first), dtype=np.float32)))
    if marks is not None and marks.waiting:
        newer, older, similarity = (np.array(column) for column in zip(*marks.waiting, strict=True))
        numbers = np.sort(np.stack([pool.numbers(newer), pool.numbers(older)], axis=1), axis=1)
        there = numbers[:, 0] >= 0
        parts.append(Alike(numbers[there, 0], numbers[there, 1], similarity[there].astype(np.float32)))
    return _without_doubles(parts, count=len(pool.candidates))


def _without_doubles(parts: Sequence[Alike], *, count: int) -> Alike:
    """Return all pairs, each once, with the highest of its cosines."""
    whole = Alike(
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )
    order = np.argsort(-whole.similarity, kind="stable")
    _, positions = np.unique((whole.first * count + whole.second)[order], return_index=True)
    return whole.among(order[positions])


def _progress(night: Night, what: str) -> Callable[[float], None]:
    return lambda share: night.progress(f"{what} {share:.0%}", share)
