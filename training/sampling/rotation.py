"""The order in which an epoch visits its clusters."""

import numpy as np
import numpy.typing as npt


def rotate(
    drawn: npt.NDArray[np.int64],
    *,
    clusters: npt.NDArray[np.int64],
    per_cluster: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return the positions `drawn`, shape (m,), in the order of visits to their clusters.

    The clusters stand in a random circle; each visit takes the next `per_cluster` of a cluster's samples, in the
    order in which they were drawn, and a cluster without any left is passed over. Any stretch that has more than
    `per_cluster` of one cluster therefore has every cluster that goes on after it. `clusters` are those of the pool,
    shape (n,).
    """
    labels = clusters[drawn]
    by_cluster = np.argsort(labels, kind="stable")
    together = labels[by_cluster]
    rank = np.empty(len(drawn), dtype=np.int64)
    rank[by_cluster] = np.arange(len(drawn)) - np.searchsorted(together, together)
    circle = rng.permutation(int(clusters.max()) + 1)
    return drawn[np.lexsort((rank, circle[labels], rank // per_cluster))]
