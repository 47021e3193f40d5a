"""Labels into the column that everybody reads: `PairEmbedding.cluster`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maintenance.clustering.labels import NO_CLUSTER, Clusters, Keys, Labels
from memory.bulk import update_rows
from memory.models import PairEmbedding

_ROWS_READ = 10_000
# In one transaction, in which another writer waits: about a tenth of a second.
_ROWS_WRITTEN = 5_000


def differing(labels: Labels, *, using: str) -> tuple[Keys, Clusters]:
    """Return the embeddings whose column is not as in `labels`, and what belongs there; `NO_CLUSTER` for all others."""
    # In no order: the index of the column alone is read, rather than a table full of vectors.
    rows = PairEmbedding.objects.using(using).order_by().values_list("pk", "cluster").iterator(chunk_size=_ROWS_READ)
    found = np.fromiter(
        ((pk, NO_CLUSTER if cluster is None else cluster) for pk, cluster in rows),
        dtype=np.dtype([("embedding", np.int64), ("cluster", np.int32)]),
    )
    found.sort(order="embedding")
    wanted = labels.of_embeddings(found["embedding"])
    differs = found["cluster"] != wanted
    return found["embedding"][differs], wanted[differs]


def write_column(
    embeddings: Keys,
    clusters: Clusters,
    *,
    using: str,
    progress: Callable[[str, float], None] = lambda text, share: None,
) -> int:
    """Set the clusters of `embeddings`, both of shape (n,), in short transactions; return how many there still were."""
    written, total = 0, len(embeddings)
    for start in range(0, total, _ROWS_WRITTEN):
        portion = slice(start, start + _ROWS_WRITTEN)
        rows = zip(embeddings[portion].tolist(), clusters[portion].tolist(), strict=True)
        written += update_rows(
            PairEmbedding,
            ["cluster"],
            ((pk, None if cluster == NO_CLUSTER else cluster) for pk, cluster in rows),
            using=using,
        )
        done = min(start + _ROWS_WRITTEN, total)
        progress(f"{done:,} of {total:,} labels written", done / total)
    return written
