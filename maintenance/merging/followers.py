"""Pairs that a merged pair stood for: whether its own survivor may stand for them, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from django.db.models import F

from maintenance.merging.candidates import Pool
from maintenance.merging.channels import Channel
from maintenance.merging.greedy import SAME
from maintenance.merging.groups import Merges
from maintenance.merging.judging import Comparer
from maintenance.night import Night
from memory.bulk import key_list
from memory.curation.merging import merged_by_a_person
from memory.embeddings import from_bytes
from memory.extraction.vectors import VectorCache
from memory.models import PairEmbedding, SftPair

_PAIRS_READ = 2_000


def unlike_followers(
    night: Night, channel: Channel, pool: Pool, planned: Merges, *, vectors: VectorCache
) -> frozenset[int]:
    """Return the keys of pairs that nights merged into a member of `planned` and that its survivor is not like.

    Else one night after the other would make a chain of pairs that are each a little different from the last one group.
    What a person merged goes along wherever it goes, as do copies of the member, and what may not be trained. Of a pair
    without a vector, and of one whose rejected answer is too much to embed, the facts alone decide.
    """
    keys = pool.candidates["pair"]
    into = dict(zip(keys[planned.member].tolist(), keys[planned.survivor].tolist(), strict=True))
    found = [
        (follower, into[member], source)
        for follower, member, source in _followers(channel, sorted(into), using=night.using)
    ]
    if not found:
        return frozenset()
    first = np.array([survivor for _, survivor, _ in found], dtype=np.int64)
    second = np.array([follower for follower, *_ in found], dtype=np.int64)
    pairs = np.union1d(first, second)
    thoughts = {key for both in found for key in both[:2] if both[2] == SftPair.Source.INTROSPECTION}
    comparer = Comparer(
        channel=channel,
        pairs=pairs,
        introspection=np.array([key in thoughts for key in pairs.tolist()], dtype=np.bool_),
        threshold=night.config.merge.similarity_threshold,
        vectors=vectors,
        using=night.using,
    )
    rows = np.arange(len(pairs), dtype=np.int32)
    comparer.prepare(rows, on_progress=lambda share: None)
    one, other = (np.searchsorted(pairs, each).astype(np.int32) for each in (first, second))
    alike = (comparer.judge(one, other) == SAME) | np.isin(other, sorted(comparer.undecided))
    alike &= ~_apart(night, channel, first, second)
    return frozenset(second[~alike].tolist())


def _followers(channel: Channel, members: Sequence[int], *, using: str) -> Iterator[tuple[int, int, str]]:
    """Yield followers of `members` that a night merged, with the member and where they come from."""
    for start in range(0, len(members), _PAIRS_READ):
        portion = key_list(members[start : start + _PAIRS_READ], using=using)
        merged = channel.model.objects.using(using).filter(merged_into__in=portion).worth_training()
        merged = merged.exclude(content_hash=F("merged_into__content_hash")).filter(~merged_by_a_person(channel.model))
        yield from merged.order_by("pk").values_list("pk", "merged_into_id", "source")


def _apart(
    night: Night, channel: Channel, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which pairs have vectors that are not similar, by their keys, shape (k,)."""
    apart = np.zeros(len(first), dtype=np.bool_)
    for start in range(0, len(first), _PAIRS_READ):
        part = slice(start, start + _PAIRS_READ)
        keys = key_list(np.union1d(first[part], second[part]).tolist(), using=night.using)
        stored = PairEmbedding.objects.using(night.using).filter(
            embedder=night.version(), **{f"{channel.owner}__in": keys}
        )
        vectors = {key: bytes(vector) for key, vector in stored.values_list(channel.owner, "vector")}
        for place, pair in enumerate(zip(first[part].tolist(), second[part].tolist(), strict=True), start):
            if vectors.keys() >= {*pair}:
                one, other = from_bytes([vectors[key] for key in pair], dimension=len(vectors[pair[0]]) // 2)
                apart[place] = one @ other <= night.config.merge.similarity_threshold
    return apart
