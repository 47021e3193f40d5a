"""k-means at scale: centroids from a sample, then every vector to the nearest one, block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maintenance.clustering.labels import Clusters
from memory.embeddings import Vectors
from training.sampling.clusters import cluster

# Vectors a cluster from which the centroids come; all of a million move the inertia by a hundredth.
SAMPLE_PER_CLUSTER = 256
_SEED = 0


def sample(size: int, *, k: int) -> npt.NDArray[np.int64]:
    """Return the positions, ascending, of those of `size` vectors from which `k` centroids are computed."""
    most = SAMPLE_PER_CLUSTER * k
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(_SEED).choice(size, most, replace=False))


def fit_centroids(vectors: Vectors, *, k: int) -> Vectors:
    """Return at most `k` centroids, float32, shape (c, d), of `vectors`, unit rows of shape (n, d), n at least 1.

    Fewer where there are fewer distinct rows. They are rounded to float16, as they are stored: who puts a vector to
    the nearest one later comes to the same. The same vectors give the same centroids on one machine.
    """
    labels = cluster(vectors, k=k, seed=_SEED)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    sums = np.add.reduceat(vectors[order], np.cumsum(sizes) - sizes, axis=0)
    return from_stored(stored(sums / sizes[:, None]), k=len(sizes))


def nearest(vectors: Vectors, centroids: Vectors) -> Clusters:
    """Return the row of the centroid nearest to each vector, shape (n,); `vectors` (n, d), `centroids` (k, d)."""
    # |v - c|² without |v|², which is the same for all c.
    scores = vectors @ centroids.T
    scores -= np.square(centroids).sum(axis=1) / 2
    rows: Clusters = scores.argmax(axis=1).astype(np.int32)
    return rows


def stored(centroids: npt.NDArray[np.floating]) -> bytes:
    """Return centroids, shape (k, d), as little-endian float16."""
    return centroids.astype("<f2").tobytes()


def from_stored(content: bytes, *, k: int) -> Vectors:
    """Return stored centroids, float32, shape (k, d)."""
    return np.frombuffer(content, dtype="<f2").reshape(k, -1).astype(np.float32)
