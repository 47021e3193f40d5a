"""Topics of a pool: k-means over its embeddings."""

import math
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LEAST_CLUSTERS, MOST_CLUSTERS = 20, 100


def choose_k(size: int, asked: int | Literal["auto"]) -> int:
    """Return how many clusters a pool of `size` gets: `asked`, or its root within 20 to 100; never more than `size`."""
    wanted = min(max(round(math.sqrt(size)), LEAST_CLUSTERS), MOST_CLUSTERS) if asked == "auto" else asked
    return min(wanted, size)


def cluster(vectors: Vectors, *, k: int, seed: int) -> Labels:
    """Return each row's cluster, shape (n,), numbered from 0 without gaps; at most `k` of them.

    `vectors` are unit rows of shape (n, d), n at least 1, so that Euclidean k-means divides them by cosine. There are
    fewer clusters than `k` where there are fewer distinct rows. The same `seed`, 0 to 2**32 - 1, gives the same
    labels on one machine. k-means in mini-batches: Sculley 2010, doi 10.1145/1772690.1772862; with faiss, where that
    is installed: Johnson et al. 2017, arXiv 1702.08734.
    """
    k = _distinct_rows(vectors, enough=k)
    labels = _by_faiss(vectors, k, seed) if find_spec("faiss") else _by_mini_batches(vectors, k, seed)
    # A centre may end up with no row of its own; coverage counts clusters that a batch can reach.
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _by_mini_batches(vectors: Vectors, k: int, seed: int) -> npt.NDArray[np.int32]:
    # scikit-learn takes seconds to import, which every command would pay that only looks at a config.
    from sklearn.cluster import MiniBatchKMeans

    # By default the centre of a topic a hundred times rarer than the largest is moved to somewhere more crowded.
    kmeans = MiniBatchKMeans(k, random_state=seed, n_init=1, reassignment_ratio=0)
    labels: npt.NDArray[np.int32] = kmeans.fit_predict(vectors)
    return labels


def _by_faiss(vectors: Vectors, k: int, seed: int) -> npt.NDArray[np.int64]:
    # By name, since faiss is no dependency: it is there where a deployment has put it.
    faiss = import_module("faiss")
    rows = np.ascontiguousarray(vectors)
    # faiss warns of fewer than 39 rows a cluster, which is what most pools have.
    kmeans = faiss.Kmeans(rows.shape[1], k, seed=seed % 2**31, spherical=True, min_points_per_centroid=1)
    kmeans.train(rows)
    labels: npt.NDArray[np.int64] = kmeans.index.search(rows, 1)[1][:, 0]
    return labels


def _distinct_rows(vectors: Vectors, *, enough: int) -> int:
    """Return how many different rows there are, counting no further than `enough`."""
    seen: set[bytes] = set()
    for row in vectors:
        seen.add(row.tobytes())
        if len(seen) == enough:
            break
    return len(seen)
