"""Stored vectors, and the cosines between them without any rounding error that could decide differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

StoredVectors = npt.NDArray[np.float16]
Positions = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# 8,192 rows of 384 numbers are 12 MB in float32.
BLOCK_ROWS = 8_192
# So many pairs at a time stay in the processor's cache.
BLOCK_PAIRS = 512


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that have a direction. Everything else speaks of them by position in `numbers`.

    Attributes:
        vectors: all rows as stored, shape (n, d).
        numbers: the rows that are finite and not zero, ascending, shape (m,).
        squared_norms: their squared lengths, shape (m,).

    """

    vectors: StoredVectors
    numbers: Positions
    squared_norms: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.numbers)

    def stored(self, positions: Positions) -> Tensor:
        """Return rows as they are stored, float32, shape (p, d)."""
        return _widened(self.vectors, self.numbers[positions])

    def units(self, positions: Positions) -> Tensor:
        """Return rows scaled to unit length, float32, shape (p, d)."""
        import torch  # heavy: whoever only names this package must not wait for it

        lengths = torch.from_numpy(np.sqrt(self.squared_norms[positions])).float()
        return self.stored(positions).div_(lengths[:, None])

    def blocks(self) -> Iterator[Positions]:
        """Yield all positions in blocks that are cheap to widen."""
        for start in range(0, len(self), BLOCK_ROWS):
            yield np.arange(start, min(start + BLOCK_ROWS, len(self)), dtype=np.int32)

    def cosines(self, first: Positions, second: Positions) -> npt.NDArray[np.float64]:
        """Return the cosine of every pair (`first[i]`, `second[i]`), shape (p,).

        A product of two float16 numbers is a multiple of 2**-48, and so is a sum of them, which float64 holds exactly
        while it stays below 16, as it does for rows of about unit length. The scalar product is therefore exact, in
        whatever order it is summed: the same pair has the same cosine everywhere, and equal rows have 1.
        """
        import torch  # heavy, see above

        found = np.empty(len(first), dtype=np.float64)
        for start in range(0, len(first), BLOCK_PAIRS):
            block = slice(start, start + BLOCK_PAIRS)
            # In float32 the single products are exact as well.
            products = self.stored(first[block]).mul_(self.stored(second[block]))
            found[block] = products.sum(dim=1, dtype=torch.float64).numpy()
        return self._per_length(found, self.squared_norms[first] * self.squared_norms[second])

    def cosine_table(self, left: Positions, right: Positions) -> npt.NDArray[np.float64]:
        """Return the cosine of every pair of a left and a right row, shape (l, r), to the bit as `cosines` does."""
        products = (self.stored(left).double() @ self.stored(right).double().T).numpy()
        return self._per_length(products, np.multiply.outer(self.squared_norms[left], self.squared_norms[right]))

    @staticmethod
    def _per_length(products: npt.NDArray[np.float64], squared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        products /= np.sqrt(squared, out=squared)
        return products


def rows_with_direction(vectors: StoredVectors) -> Rows:
    """Return the rows of `vectors`, shape (n, d), without those that are zero or not finite."""
    import torch  # heavy, see above

    squared = np.empty(len(vectors), dtype=np.float64)
    for start in range(0, len(vectors), BLOCK_ROWS):
        numbers = np.arange(start, min(start + BLOCK_ROWS, len(vectors)))
        squared[numbers] = _widened(vectors, numbers).square_().sum(dim=1, dtype=torch.float64).numpy()
    usable = np.flatnonzero(np.isfinite(squared) & (squared > 0)).astype(np.int32)
    return Rows(vectors, usable, squared[usable])


def _widened(vectors: StoredVectors, numbers: npt.NDArray[np.integer]) -> Tensor:
    import torch  # heavy, see above

    # Indexing copies, without which PyTorch warns of arrays that cannot be written.
    return torch.from_numpy(vectors[numbers]).float()
