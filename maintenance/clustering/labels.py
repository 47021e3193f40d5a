"""Which cluster each embedding is in, and the few bytes that keep it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Stands for a row that is in no cluster.
NO_CLUSTER = -1

Keys = npt.NDArray[np.int64]
Clusters = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Labels:
    """The clusters of n embeddings.

    Attributes:
        embeddings: primary keys, ascending, shape (n,).
        pairs: the pair of each, shape (n,), as `pair_numbers` names it: a pair outlives its embedding, which gives way
            to another one with the next embedder.
        clusters: numbers from 0, below 65,536, shape (n,).

    """

    embeddings: Keys
    pairs: Keys
    clusters: Clusters

    def of_embeddings(self, embeddings: Keys) -> Clusters:
        """Return the cluster of each, `NO_CLUSTER` where it has none; shape of `embeddings`."""
        return _looked_up(self.embeddings, self.clusters, embeddings)

    def of_pairs(self, pairs: Keys) -> Clusters:
        """Return the cluster of each, `NO_CLUSTER` where it has none; shape of `pairs`."""
        order = np.argsort(self.pairs)
        return _looked_up(self.pairs[order], self.clusters[order], pairs)

    def with_clusters(self, clusters: Mapping[int, int]) -> Labels:
        """Return these labels and those of other embeddings, by key, whose pairs nobody asks for."""
        more = np.array(list(clusters), dtype=np.int64)
        embeddings = np.concatenate([self.embeddings, more])
        pairs = np.concatenate([self.pairs, np.zeros(len(more), dtype=np.int64)])
        numbers = np.concatenate([self.clusters, np.array(list(clusters.values()), dtype=np.int32)])
        order = np.argsort(embeddings)
        return Labels(embeddings[order], pairs[order], numbers[order])


def no_labels() -> Labels:
    """Return the labels of nothing."""
    empty = np.empty(0, dtype=np.int64)
    return Labels(empty, empty, np.empty(0, dtype=np.int32))


def pair_numbers(pairs: Keys, *, is_preference: bool) -> Keys:
    """Return one number for each primary key that no pair of the other channel has, same shape."""
    return pairs * 2 + is_preference


def pack(labels: Labels) -> bytes:
    """Return the labels as compressed bytes: about one a pair, since neighbours differ by one in their keys."""
    parts = (
        np.diff(labels.embeddings, prepend=0).astype("<i8"),
        np.diff(labels.pairs, prepend=0).astype("<i8"),
        labels.clusters.astype("<u2"),
    )
    return zlib.compress(b"".join(part.tobytes() for part in parts))


def unpack(packed: bytes) -> Labels:
    """Return what `pack` was given."""
    content = zlib.decompress(packed)
    # Two keys of 8 bytes and a label of 2.
    count = len(content) // 18
    keys = np.frombuffer(content, dtype="<i8", count=2 * count).reshape(2, count).cumsum(axis=1)
    clusters = np.frombuffer(content, dtype="<u2", offset=16 * count).astype(np.int32)
    return Labels(keys[0], keys[1], clusters)


def _looked_up(keys: Keys, values: Clusters, wanted: Keys) -> Clusters:
    if not len(keys):
        return np.full(len(wanted), NO_CLUSTER, dtype=np.int32)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], np.int32(NO_CLUSTER))
