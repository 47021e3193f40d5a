"""Blocks of rows compared with each other: from products of sketches to pairs that are certain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from maintenance.similarity.pairs import PairCollector
from maintenance.similarity.products import gathered, in_steps, ordered, ordered_floor
from maintenance.similarity.rows import Mask, Positions, Rows
from maintenance.similarity.sketches import sketch_error

if TYPE_CHECKING:
    from torch import Tensor

# The products of two such tiles take 8 MB.
TILE_ROWS = 2_048
# Where too many pairs are found, so that the best ranked partners are known before most pairs are looked at.
CROWDED_TILE_ROWS = 256
# From these shares of a tile on it is faster to multiply whole rows, then to compute all cosines, than to take pairs.
WHOLE_ROWS_SHARE, TABLE_SHARE = 1 / 128, 1 / 24
PENDING_PAIRS = 1 << 18


class Comparison:
    """Compares sets of rows and collects the pairs whose cosine is above `threshold`.

    Of two rows at least one must be new. Sets are positions in `rows`, ascending.
    """

    def __init__(
        self, rows: Rows, sketches: Tensor, *, threshold: float, is_new: Mask, collector: PairCollector
    ) -> None:
        self._rows = rows
        self._sketches = sketches
        self._threshold = threshold
        self._is_new = is_new
        self._all_new = bool(is_new.all())
        self._collector = collector
        self._bound = ordered_floor(
            np.array(threshold - sketch_error(sketches.dtype), dtype=np.float32), sketches.dtype
        )
        self._pending: list[tuple[Positions, Positions]] = []
        self._pending_count = 0

    def within(self, positions: Positions) -> None:
        """Compare every pair of a set."""
        new, old = self._divided(positions)
        height = self._tile_height()
        for start in range(0, len(new), height):
            left = new[start : start + height]
            self._tile(left, left, is_square=True)
            self._tiles(left, new[start + height :])
        self._tiles(new, old)

    def between(self, left: Positions, right: Positions) -> None:
        """Compare each row of a set with each of another; no row is in both."""
        new, old = self._divided(left)
        self._tiles(new, right)
        if len(old):
            self._tiles(old, self._divided(right)[0])

    def finish(self) -> None:
        """Decide what is still pending."""
        if self._pending:
            first, second = (np.concatenate(each) for each in zip(*self._pending, strict=True))
            self._pending.clear()
            self._pending_count = 0
            wanted = self._collector.wants(first, second)
            first, second = first[wanted], second[wanted]
            similar = self._rows.cosines(first, second) > self._threshold
            self._collector.add(first[similar], second[similar])

    def _divided(self, positions: Positions) -> tuple[Positions, Positions]:
        if self._all_new:
            return positions, positions[:0]
        is_new = self._is_new[positions]
        return positions[is_new], positions[~is_new]

    def _tile_height(self) -> int:
        return TILE_ROWS if self._collector.complete else CROWDED_TILE_ROWS

    def _tiles(self, left: Positions, right: Positions) -> None:
        height = self._tile_height()
        for start in range(0, len(left), height):
            for right_start in range(0, len(right), TILE_ROWS):
                self._tile(left[start : start + height], right[right_start : right_start + TILE_ROWS])

    def _tile(self, left: Positions, right: Positions, *, is_square: bool = False) -> None:
        if self._collector.wants_none(left, right):
            return
        close = self._close(left, right, lambda positions: gathered(self._sketches, positions))
        if is_square:
            # In every square, but no pair.
            np.fill_diagonal(close, val=False)
        count = np.count_nonzero(close)
        if count > close.size * WHOLE_ROWS_SHARE and self._rows.vectors.shape[1] > self._sketches.shape[1]:
            close = self._close(left, right, lambda positions: self._rows.units(positions).to(self._sketches.dtype))
            count = np.count_nonzero(close)
        if count == 0:
            return
        is_certain = bool(count > close.size * TABLE_SHARE)
        if is_certain:
            close = self._rows.cosine_table(left, right) > self._threshold
        row, column = np.divmod(np.flatnonzero(close), len(right))
        one, other = left[row], right[column]
        if is_square:
            # Both halves of the square have the pair, and what was computed anew has the diagonal again.
            half = one < other
            one, other = one[half], other[half]
        self._take(np.minimum(one, other), np.maximum(one, other), is_certain=is_certain)

    def _close(self, left: Positions, right: Positions, rows: Callable[[Positions], Tensor]) -> Mask:
        scores = rows(in_steps(left)) @ rows(in_steps(right)).T
        found: Mask = ordered(scores)[: len(left), : len(right)] >= self._bound
        return found

    def _take(self, first: Positions, second: Positions, *, is_certain: bool) -> None:
        if not self._collector.complete:
            wanted = self._collector.wants(first, second)
            first, second = first[wanted], second[wanted]
        if is_certain:
            self._collector.add(first, second)
            return
        self._pending.append((first, second))
        self._pending_count += len(first)
        if self._pending_count > PENDING_PAIRS:
            self.finish()
