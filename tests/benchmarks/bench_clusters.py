"""Our k-means at scale next to scikit-learn's, and the farthest-first basis from a part next to that from all rows.

Run as `python -m tests.benchmarks.bench_clusters`, a few minutes on one core. The vectors are made, seeded: unit rows
of 384 numbers around 2,000 directions, some a hundred times as frequent as others, as stored in float16. All look for
100 clusters; inertia is the sum of the squared distances to the mean of the own cluster, here in relation to ours. Each
contender runs in a process of its own, and memory is what it needs besides the stored vectors; scikit-learn needs them
in float32. KMeans runs to its convergence, which takes too long for a million rows. The tables go into
docs/benchmarks.md if all sizes were measured.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from maintenance.clustering.kmeans import fit_centroids, nearest, sample
from maintenance.peak_memory import peak_rss_mb, restart_peak
from memory.embeddings import Vectors, unit_rows
from tests.benchmarks.sections import write_section
from training.sampling.farthest_first import MOST_ROWS, farthest_first

SIZES = (10_000, 100_000, 1_000_000)
LARGEST_KMEANS = 100_000
K = 100
DIMENSION = 384
TOPICS = 2_000
BLOCK = 8_192

StoredVectors = npt.NDArray[np.float16]
Rows = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Taken:
    """What one contender took, and how good its answer is (the less the better)."""

    seconds: float
    megabytes: float
    quality: float


def main() -> None:
    """Measure all sizes, print the figures as one JSON object, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES))
    sizes = parser.parse_args().sizes
    found = {size: _size(size) for size in sizes}
    figures = {size: {name: asdict(taken) for name, taken in each.items()} for size, each in found.items()}
    sys.stdout.write(json.dumps(figures) + "\n")
    if tuple(sizes) == SIZES:
        _write(found)


def stored_vectors(size: int) -> StoredVectors:
    """Return unit rows of 384 numbers around 2,000 directions, shape (size, 384)."""
    rng = np.random.default_rng(0)
    directions = unit_rows(rng.normal(size=(TOPICS, DIMENSION)).astype(np.float32))
    shares = rng.dirichlet(np.full(TOPICS, 0.7))
    found = np.empty((size, DIMENSION), dtype="<f2")
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        noise = rng.normal(size=(count, DIMENSION), scale=DIMENSION**-0.5).astype(np.float32)
        found[start : start + count] = unit_rows(0.6 * directions[rng.choice(TOPICS, count, p=shares)] + 0.8 * noise)
    return found


def ours(vectors: StoredVectors) -> Rows:
    """Cluster as the night does: centroids from a sample, then block by block."""
    centroids = fit_centroids(unit_rows(vectors[sample(len(vectors), k=K)].astype(np.float32)), k=K)
    return np.concatenate([nearest(block, centroids) for block in _blocks(vectors)])


def kmeans(vectors: StoredVectors) -> Rows:
    from sklearn.cluster import KMeans

    labels: Rows = KMeans(K, n_init=1, random_state=0).fit_predict(vectors.astype(np.float32))
    return labels


def mini_batches(vectors: StoredVectors) -> Rows:
    from sklearn.cluster import MiniBatchKMeans

    labels: Rows = MiniBatchKMeans(K, n_init=1, random_state=0).fit_predict(vectors.astype(np.float32))
    return labels


def basis_of_part(vectors: StoredVectors) -> Rows:
    return farthest_first(vectors[:MOST_ROWS].astype(np.float32), count=K, start=0)


def basis_of_all(vectors: StoredVectors) -> Rows:
    return farthest_first(vectors.astype(np.float32), count=K, start=0)


def inertia(vectors: StoredVectors, labels: Rows) -> float:
    """Return the sum of the squared distances of unit rows to the mean of their cluster."""
    sums = np.zeros((K, DIMENSION))
    start = 0
    for block in _blocks(vectors):
        is_in = (labels[start : start + len(block), None] == np.arange(K)).astype(np.float32)
        sums += is_in.T @ block
        start += len(block)
    sizes = np.bincount(labels, minlength=K)
    return float(len(vectors) - (np.square(sums).sum(axis=1) / np.maximum(sizes, 1)).sum())


def radius(vectors: StoredVectors, basis: Rows) -> float:
    """Return the largest distance, 1 - cosine, of a row to the nearest one of the basis."""
    chosen = unit_rows(vectors[basis].astype(np.float32))
    return max(float(1 - (block @ chosen.T).max(axis=1).min()) for block in _blocks(vectors))


CLUSTERINGS: dict[str, Callable[[StoredVectors], Rows]] = {
    "ours": ours,
    "scikit-learn KMeans": kmeans,
    "scikit-learn MiniBatchKMeans": mini_batches,
}
BASES: dict[str, Callable[[StoredVectors], Rows]] = {
    f"ours, of at most {MOST_ROWS:,} rows": basis_of_part,
    "of all rows": basis_of_all,
}


def _blocks(vectors: StoredVectors) -> Iterator[Vectors]:
    for start in range(0, len(vectors), BLOCK):
        yield unit_rows(vectors[start : start + BLOCK].astype(np.float32))


def _size(size: int) -> dict[str, Taken]:
    vectors = stored_vectors(size)
    found: dict[str, Taken] = {}
    for contenders, quality in ((CLUSTERINGS, inertia), (BASES, radius)):
        for name, act in contenders.items():
            if act is not kmeans or size <= LARGEST_KMEANS:
                found[name] = _taken(vectors, act, quality)
                sys.stderr.write(f"{size:,} {name}: {found[name]}\n")
    return found


def _taken(
    vectors: StoredVectors,
    act: Callable[[StoredVectors], Rows],
    quality: Callable[[StoredVectors, Rows], float],
) -> Taken:
    """Let a contender run in a child, which shares the stored vectors."""
    # By fork, and before any thread begins.
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def run() -> None:
        # Imports and first calls are not measured.
        act(vectors[:K])
        restart_peak()
        before = peak_rss_mb()
        began = time.perf_counter()
        rows = act(vectors)
        seconds = time.perf_counter() - began
        megabytes = peak_rss_mb() - before
        there.send(Taken(seconds, megabytes, quality(vectors, rows)))

    child = context.Process(target=run)
    child.start()
    taken: Taken = here.recv()
    child.join()
    return taken


def _write(found: dict[int, dict[str, Taken]]) -> None:
    for name, contenders, measure in (("clusters", CLUSTERINGS, "inertia"), ("basis", BASES, "radius")):
        rows: list[Sequence[str]] = []
        for size, taken in found.items():
            first = taken[next(iter(contenders))]
            rows += [
                (
                    f"{size:,}",
                    contender,
                    f"{taken[contender].seconds:.2f}",
                    f"{taken[contender].seconds / first.seconds:.2f}",
                    f"{taken[contender].quality / first.quality:.3f}",
                    f"{taken[contender].megabytes:,.0f}",
                )
                for contender in contenders
                if contender in taken
            ]
        write_section(name, ["rows", "", "seconds", "× ours", f"{measure} ÷ ours", "MB"], rows)


if __name__ == "__main__":
    main()
