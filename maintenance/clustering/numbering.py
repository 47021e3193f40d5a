"""Clusters that keep their number from one clustering to the next, and the share of pairs that moved all the same."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count, islice

import numpy as np
import numpy.typing as npt

from maintenance.clustering.labels import NO_CLUSTER, Clusters


def keep_numbers(labels: Clusters, before: Clusters, *, used: Collection[int]) -> Clusters:
    """Return the number of each cluster, shape (k,), so that as few pairs as possible change theirs.

    `labels`, shape (n,), are numbered from 0 without gaps; `before`, shape (n,), are the numbers that the same pairs
    had, `NO_CLUSTER` where they had none; `used` are the numbers of all clusters before. Clusters of now and then are
    matched one to one by the pairs that they share (the Hungarian method: Kuhn 1955, doi 10.1002/nav.3800020109). A
    cluster without a match gets the smallest number that none had before: nobody should take it for one that is gone.
    """
    # SciPy takes a third of a second to import, which every command would pay.
    from scipy.optimize import linear_sum_assignment

    k = int(labels.max()) + 1
    was_known = before != NO_CLUSTER
    old, places = np.unique(before[was_known], return_inverse=True)
    shared = np.bincount(labels[was_known] * len(old) + places, minlength=k * len(old)).reshape(k, len(old))
    rows, columns = linear_sum_assignment(shared, maximize=True)
    is_match = shared[rows, columns] > 0
    numbers = np.full(k, NO_CLUSTER, dtype=np.int32)
    numbers[rows[is_match]] = old[columns[is_match]]
    missing = np.flatnonzero(numbers == NO_CLUSTER)
    numbers[missing] = list(islice((number for number in count() if number not in used), len(missing)))
    return numbers


def drift(clusters: Clusters, before: Clusters) -> float | None:
    """Return the share of the pairs in both clusterings whose number changed, 0 to 1; None if none is in both."""
    was_known: npt.NDArray[np.bool_] = before != NO_CLUSTER
    return float(np.mean(clusters[was_known] != before[was_known])) if was_known.any() else None
