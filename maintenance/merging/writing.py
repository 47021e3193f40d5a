"""Groups of duplicates written to the database, whatever people do to the pairs meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from django.db import transaction
from django.db.models import QuerySet

from maintenance.journal import change_rows
from maintenance.merging.channels import Channel
from maintenance.merging.groups import Merges
from maintenance.merging.ranking import Candidates, Numbers, hash_words
from maintenance.night import ROWS_PER_TRANSACTION, Night
from memory.bulk import key_list
from memory.models import PreferencePair, ReviewStatus, SftPair

# Where a pair's metadata tell what it stands for.
MERGED = "merged"
# Pairs that the metadata of one name at most; of more, `merged_into` tells.
MOST_NAMED = 1_000
# With as many survivors, as where copies come in twos, they fill a transaction.
_MEMBERS = ROWS_PER_TRANSACTION // 2

Known = Mapping[int, tuple[int, int, bool]]


class Merge(NamedTuple):
    """One pair that goes into another, by their keys, and their cosine."""

    member: int
    survivor: int
    similarity: float


@dataclass(slots=True)
class Written:
    """What was written.

    Attributes:
        merged: how many pairs were merged away.
        survivors: keys of the pairs that they went to.
        left: keys of pairs that somebody changed meanwhile, or whose survivor was.
        released: keys of pairs that no other one stands for any more.
        examples: of those merged, the least similar ones.

    """

    merged: int = 0
    survivors: set[int] = field(default_factory=set)
    left: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    examples: list[Merge] = field(default_factory=list)


def write_merges(
    night: Night,
    channel: Channel,
    candidates: Candidates,
    found: Merges,
    *,
    released: Collection[int],
    on_progress: Callable[[float], None],
) -> Written:
    """Let every member of `found` point at its survivor, which takes the best scores and the provenance.

    What a member stood for goes along, but for the keys in `released`, which no other pair stands for from then on.

    A group goes in one transaction, or in several of its members each where it is large, with the survivor each time;
    at every moment a survivor may be trained. What a person has edited, reviewed or taken out of training since
    `candidates` were read is left alone, with its group if it is the survivor.
    """
    written = Written()
    done = 0
    for batch in _batches(found, candidates):
        part = slice(done, done + len(batch))
        known = known_states(candidates, np.union1d(found.member[part], found.survivor[part]))
        while not _write(night, channel, batch, known, released, written):
            pass
        done += len(batch)
        on_progress(done / len(found))
    return written


def known_states(candidates: Candidates, numbers: Numbers) -> Known:
    """Return by key what must not change between reading and writing: 128 bits of content hash, whether approved."""
    columns = candidates[numbers][["pair", "hash_high", "hash_low", "approved"]]
    return {pair: (high, low, approved) for pair, high, low, approved in columns.tolist()}


def rows_as_read(
    channel: Channel, known: Known, *, columns: Sequence[str], using: str, along: Sequence[int] = ()
) -> dict[int, dict[str, Any]]:
    """Lock pairs and return `columns` of those that may still be trained and are as `known`, by key.

    To be called in a transaction. The keys in `along` are those of other pairs to lock: all in the order of their keys,
    as people's decisions do, since each would wait for the other else.
    """
    pairs = channel.model.objects.using(using)
    # The lock comes first, by itself: a query that waits for one goes on with what it had read before.
    locked = pairs.filter(pk__in=key_list([*known, *along], using=using))
    list(locked.order_by("pk").select_for_update().values("pk"))
    read = pairs.filter(pk__in=key_list(list(known), using=using)).trainable().order_by("pk")
    rows = read.values("pk", "content_hash", "review_status", *columns)
    return {
        row["pk"]: row
        for row in rows
        if (*hash_words(row["content_hash"]), row["review_status"] == ReviewStatus.APPROVED) == known[row["pk"]]
    }


def _batches(found: Merges, candidates: Candidates) -> Iterator[list[Merge]]:
    """Yield merges in batches of one transaction each; a group is divided only if it does not fit into one."""
    pairs = candidates["pair"]
    batch: list[Merge] = []
    group: list[Merge] = []
    for member, survivor, similarity in zip(
        pairs[found.member].tolist(), pairs[found.survivor].tolist(), found.similarity.tolist(), strict=True
    ):
        if group and group[0].survivor != survivor:
            if len(batch) + len(group) > _MEMBERS:
                yield batch
                batch = []
            batch += group
            group = []
        if len(group) == _MEMBERS:
            yield from filter(None, (batch, group))
            batch, group = [], []
        group.append(Merge(member, survivor, similarity))
    yield from filter(None, (batch, group))


def _write(
    night: Night,
    channel: Channel,
    batch: Sequence[Merge],
    known: Known,
    released: Collection[int],
    written: Written,
) -> bool:
    """Write one batch and return True, or a part of what has to go before it and return False.

    Pairs that a member stood for go to its survivor first, or are released, so that no chain is longer than one.
    """
    pairs = channel.model.objects.using(night.using)
    with transaction.atomic(using=night.using):
        columns = ("source", "conversation_id", channel.message, "metadata", *channel.scores)
        followers = _followers(channel, [each.member for each in batch], using=night.using)
        along = list(followers.values_list("pk", flat=True)[:ROWS_PER_TRANSACTION])
        rows = rows_as_read(channel, known, columns=columns, using=night.using, along=along)
        merged = [each for each in batch if each.member in rows and each.survivor in rows]
        survivors = {each.member: each.survivor for each in merged}
        behind = _followers(channel, list(survivors), using=night.using)
        earlier = list(behind.values_list("pk", "merged_into_id")[:ROWS_PER_TRANSACTION])
        links = [(pk, None if pk in released else survivors[member]) for pk, member in earlier]
        moved = change_rows(night, ["merged_into_id"], links, among=behind)
        written.released += [pk for pk in moved if pk in released]
        if len(earlier) == ROWS_PER_TRANSACTION:
            return False
        taken = [(pk, *values) for pk, values in _taken_over(channel, merged, rows, released)]
        change_rows(night, [*channel.scores, "metadata"], taken, among=pairs.trainable())
        links = [(each.member, each.survivor) for each in merged]
        change_rows(night, ["merged_into_id"], links, among=pairs.trainable())
    written.merged += len(merged)
    written.survivors |= set(survivors.values())
    written.left += [each.member for each in batch if each.member not in survivors]
    most = night.config.report.examples
    written.examples = sorted([*written.examples, *merged], key=lambda each: (each.similarity, each.member))[:most]
    return True


def _followers(channel: Channel, members: Sequence[int], *, using: str) -> QuerySet[SftPair] | QuerySet[PreferencePair]:
    pairs = channel.model.objects.using(using)
    return pairs.filter(merged_into__in=key_list(members, using=using)).order_by("pk")


def _taken_over(
    channel: Channel, merged: Iterable[Merge], rows: Mapping[int, Mapping[str, Any]], released: Collection[int]
) -> Iterator[tuple[int, list[Any]]]:
    """Yield each survivor with the scores and metadata that it has from now on."""
    groups: dict[int, list[Merge]] = {}
    for each in merged:
        groups.setdefault(each.survivor, []).append(each)
    for survivor, members in groups.items():
        row = rows[survivor]
        everyone = [row, *(rows[each.member] for each in members)]
        best = [max(each[name] for each in everyone) for name in (channel.reward, "confidence")]
        if channel.loss:
            best.append(min((each[channel.loss] for each in everyone if each[channel.loss] is not None), default=None))
        yield survivor, [*best, {**row["metadata"], MERGED: _provenance(channel, row, members, rows, released)}]


def _provenance(
    channel: Channel,
    row: Mapping[str, Any],
    members: Sequence[Merge],
    rows: Mapping[int, Mapping[str, Any]],
    released: Collection[int],
) -> list[dict[str, Any]]:
    found = {each["pair"]: each for each in _named(row["metadata"])}
    for each in members:
        member = rows[each.member]
        entry = {
            "pair": each.member,
            "message": member[channel.message],
            "conversation": member["conversation_id"],
            "source": member["source"],
            "similarity": round(each.similarity, 4),
        }
        named = [other for other in _named(member["metadata"]) if other["pair"] not in released]
        found |= {other["pair"]: other for other in (entry, *named)}
    return list(found.values())[:MOST_NAMED]


def _named(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a pair stands for by its metadata; an imported one may keep something else under that name."""
    named = metadata.get(MERGED)
    if not isinstance(named, list):
        return []
    return [each for each in named if isinstance(each, dict) and isinstance(each.get("pair"), int)]
