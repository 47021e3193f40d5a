"""Which older pairs are worth training again, within a budget: what is valuable, was not learned, and is rare."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from math import sqrt

import numpy as np
import numpy.typing as npt

# What a pair gains that its last run used without effect. A reward that is lower by this weighs as much.
NOT_LEARNED_BONUS = 0.5
# Cluster of a pair that has none yet.
NO_CLUSTER = -1

# What a pair is judged by: `reward` in [0, 1]; `used_at` in seconds since 1970; `cluster` from 0, or `NO_CLUSTER`.
CANDIDATE = np.dtype(
    [
        ("key", np.int64),
        ("reward", np.float64),
        ("is_approved", np.bool_),
        ("did_not_stick", np.bool_),
        ("used_at", np.float64),
        ("cluster", np.int64),
    ]
)


def scores(candidates: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """Return how much each candidate is worth by itself, in [0, 1.5], shape (n,).

    It is the reward, 1 where a person approved the pair, and `NOT_LEARNED_BONUS` more where the last run that used the
    pair left it as it was.
    """
    value = np.where(candidates["is_approved"], 1.0, candidates["reward"])
    return np.asarray(value + NOT_LEARNED_BONUS * candidates["did_not_stick"], dtype=np.float64)


def pick(candidates: npt.NDArray[np.void], *, unused: Mapping[int, int], budget: int) -> list[int]:
    """Return the keys of at most `budget` candidates, the most valuable ones first.

    A cluster is worth the root of the sum of what is in it (Lin & Bilmes 2011, aclanthology.org/P11-1052), its unused
    pairs counting 1 each. The next pair is always the one that adds most, which comes within 1 - 1/e of the best choice
    there is (Nemhauser et al. 1978, doi 10.1007/BF01588971). So a good pair comes first, but the second of one cluster
    adds less than the first of another, and least of all one of a cluster that has plenty of unused pairs. Of equal
    pairs the one that rested longest comes first, then the older key; the order given does not matter.

    Args:
        candidates: shape (n,), dtype `CANDIDATE`, each key once.
        unused: pairs waiting to be trained, by cluster.
        budget: most keys, 0 or more.

    """
    worth = scores(candidates)
    order = np.lexsort((candidates["key"], candidates["used_at"], -worth, candidates["cluster"]))
    clusters, starts = np.unique(candidates["cluster"][order], return_index=True)
    ends = np.append(starts, len(order))[1:]
    mass = {cluster: float(unused.get(cluster, 0)) for cluster in clusters.tolist()}
    # Within a cluster the next best is the next in the order, so that the heap holds one candidate a cluster.
    heap: list[tuple[float, int, int, int]] = []

    def offer(cluster: int, place: int, end: int) -> None:
        if place < end:
            gain = sqrt(mass[cluster] + worth[order[place]]) - sqrt(mass[cluster])
            heapq.heappush(heap, (-gain, cluster, place, end))

    for cluster, start, end in zip(clusters.tolist(), starts.tolist(), ends.tolist(), strict=True):
        offer(cluster, start, end)
    picked: list[int] = []
    while heap and len(picked) < budget:
        _, cluster, place, end = heapq.heappop(heap)
        picked.append(int(candidates["key"][order[place]]))
        mass[cluster] += float(worth[order[place]])
        offer(cluster, place + 1, end)
    return picked
