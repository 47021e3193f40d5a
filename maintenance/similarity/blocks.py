"""All pairs, block by block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from maintenance.similarity.comparison import TILE_ROWS, Comparison
from maintenance.similarity.rows import Mask


def compare_blocks(comparison: Comparison, *, is_new: Mask, on_progress: Callable[[int], None]) -> None:
    """Compare every pair of rows of which one is new, shape (m,).

    `on_progress` hears after each block how many rows have been compared with all others so far.
    """
    new, old = (np.flatnonzero(each).astype(np.int32) for each in (is_new, ~is_new))
    for start in range(0, len(new), TILE_ROWS):
        block = new[start : start + TILE_ROWS]
        comparison.within(block)
        comparison.between(block, new[start + TILE_ROWS :])
        comparison.between(block, old)
        on_progress(start + len(block))
    comparison.finish()
