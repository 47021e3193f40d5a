"""The search for all similar pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maintenance.similarity.blocks import compare_blocks
from maintenance.similarity.cells import Cells, cell_count
from maintenance.similarity.comparison import Comparison
from maintenance.similarity.pairs import PairCollector, SimilarPairs
from maintenance.similarity.rows import Mask, StoredVectors, rows_with_direction
from maintenance.similarity.sketches import sketch

# Finding a row's cells costs about as much as comparing it with so many times their number.
CELL_COST = 4
# Cells must spare more than this share of all pairs.
LARGEST_SHARE = 0.5


def similar_pairs(
    vectors: StoredVectors,
    *,
    threshold: float,
    is_new: Mask | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> SimilarPairs:
    """Return every pair of rows whose cosine is above `threshold`, of which at least one is new.

    The result is exact: it is that of computing all cosines of the rows as they are stored, without rounding. It does
    not depend on the order of the rows, nor on which of them are new but for leaving pairs of old ones out.

    Args:
        vectors: rows of about unit length as they are stored, float16, shape (n, d), best rank first. They are not
            copied, nor changed. A zero row or one that is not finite is similar to nothing.
        threshold: least cosine, exclusive, at least -1 and below 1.
        is_new: which rows are new, shape (n,); all without it.
        on_progress: called now and then with how many rows have been compared so far, at last with all that had to be.

    Raises:
        ValueError: if `threshold` is out of range, or `is_new` of another length.

    """
    if not -1 <= threshold < 1:
        raise ValueError(f"threshold: got {threshold}, allowed -1 up to but not 1")
    if is_new is not None and len(is_new) != len(vectors):
        raise ValueError(f"is_new: got {len(is_new)} rows, allowed {len(vectors)}, as many as vectors")
    rows = rows_with_direction(vectors)
    new = np.ones(len(rows), dtype=np.bool_) if is_new is None else is_new[rows.numbers]
    report = on_progress or (lambda compared: None)
    collector = PairCollector(len(rows))
    if new.any():
        sketches = sketch(rows)
        comparison = Comparison(rows, sketches, threshold=threshold, is_new=new, collector=collector)
        pairs = new.sum() * (len(rows) - new.sum() / 2)
        count = cell_count(len(rows))
        cells = Cells(sketches, count=count, threshold=threshold) if pairs > CELL_COST * count * len(rows) else None
        if cells is not None and cells.expected_share() < LARGEST_SHARE:
            cells.compare(comparison, on_progress=report)
        else:
            compare_blocks(comparison, is_new=new, on_progress=report)
    first, second = collector.pairs()
    return SimilarPairs(
        first=rows.numbers[first],
        second=rows.numbers[second],
        similarity=rows.cosines(first, second).astype(np.float32),
        complete=collector.complete,
    )
