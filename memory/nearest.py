"""The pairs whose stored vectors lie nearest to that of one pair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from django.db import models, router

from memory.embeddings import Vectors, from_bytes
from memory.models import PairEmbedding, TrainingPair
from memory.pair_vectors import OWNERS

# Vectors that are compared at most: all there are, else the newest of the pair's cluster.
MOST_COMPARED = 15_000
# Vectors without a cluster that are compared beside them: what has come since the last night.
MOST_UNCLUSTERED = 2_000
# Vectors that are widened at a time.
_BLOCK = 4_096

_Rows = models.QuerySet[PairEmbedding]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A pair of the same channel, and its cosine with the one that was asked about, in [-1, 1]."""

    pair_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest pairs, the most similar first.

    Attributes:
        neighbours: the pairs; none where the pair itself has no vector.
        compared: how many vectors were compared.
        complete: whether these were all of the channel; else some pair elsewhere may be nearer.
        has_vector: whether the pair has one; a new or edited pair gets its own in the night.

    """

    neighbours: tuple[Neighbour, ...] = ()
    compared: int = 0
    complete: bool = True
    has_vector: bool = True


def nearest(pair: TrainingPair, *, limit: int = 10) -> Nearest:
    """Return the at most `limit` pairs of the channel whose vectors have the highest cosine with that of `pair`.

    Cosines are exact. Up to `MOST_COMPARED` vectors of the channel are all compared. Where there are more, those of the
    pair's cluster are, or the newest of a pair without one, and the newest that no night has put into a cluster yet.
    Whatever became of a pair since, it is among them: merged, archived and rejected ones, too.
    """
    if limit < 1:
        raise ValueError(f"limit: got {limit}, allowed 1 or more")
    owner, using = OWNERS[type(pair)], pair._state.db or router.db_for_read(PairEmbedding)
    stored = PairEmbedding.objects.using(using)
    own = stored.filter(**{owner: pair.pk}).values_list("embedder", "dimension", "cluster", "vector").first()
    if own is None:
        return Nearest(has_vector=False)
    embedder, dimension, cluster, vector = own
    of_channel = stored.filter(**{f"{owner}__isnull": False})
    # No count: a step over the index says whether there are more.
    complete = not of_channel.order_by(owner).values(owner)[MOST_COMPARED : MOST_COMPARED + 1]
    among = [of_channel] if complete else _near(of_channel, cluster)
    wanted = from_bytes([bytes(vector)], dimension=dimension)[0]
    pairs, cosines = _cosines(among, wanted, embedder=embedder, owner=owner)
    is_other = pairs != pair.pk
    pairs, cosines = pairs[is_other], cosines[is_other]
    order = np.lexsort((pairs, -cosines))[:limit]
    found = zip(pairs[order].tolist(), cosines[order].tolist(), strict=True)
    return Nearest(tuple(Neighbour(pk, cosine) for pk, cosine in found), compared=len(pairs), complete=complete)


def _near(of_channel: _Rows, cluster: int | None) -> list[_Rows]:
    """Return the vectors that are worth comparing, where there are too many of them."""
    newest = of_channel.order_by("-pk")
    if cluster is None:
        return [newest[:MOST_COMPARED]]
    return [newest.filter(cluster=cluster)[:MOST_COMPARED], newest.filter(cluster=None)[:MOST_UNCLUSTERED]]


def _cosines(
    among: Iterable[_Rows], wanted: Vectors, *, embedder: str, owner: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the pairs `among` that have a vector of `embedder`, and their cosines with the unit vector `wanted`.

    Args:
        among: vectors of the channel.
        wanted: shape (dimension,).
        embedder: the version that `wanted` is of.
        owner: the column that names the pair of a vector.

    Returns:
        Keys and cosines, shape (n,) both.

    """
    pairs: list[int] = []
    cosines: list[npt.NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)]
    for vectors in among:
        # The embedder is compared here: told of it, SQLite may walk all vectors by the index on it.
        rows = vectors.values_list(owner, "embedder", "vector").iterator(chunk_size=_BLOCK)
        while block := list(islice(rows, _BLOCK)):
            alike = [(pk, vector) for pk, version, vector in block if version == embedder]
            pairs += [pk for pk, _ in alike]
            cosines.append(from_bytes([vector for _, vector in alike], dimension=len(wanted)) @ wanted)
    return np.array(pairs, dtype=np.int64), np.clip(np.concatenate(cosines), -1.0, 1.0)
