"""The pairs that were found, and how many of them are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maintenance.similarity.rows import Positions

# As keys these take 320 MB.
MOST_PAIRS = 40_000_000
# So many partners of better rank are left to a row where there are too many pairs.
MOST_PARTNERS = 64

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SimilarPairs:
    """Pairs of similar rows, `first` before `second`, sorted by `second`, then `first`.

    Attributes:
        first: number of the earlier row, shape (p,).
        second: number of the later row, shape (p,).
        similarity: their cosine, shape (p,).
        complete: whether these are all. If not, of each `second` the `MOST_PARTNERS` lowest `first` are here.

    """

    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    similarity: npt.NDArray[np.float32]
    complete: bool

    def __len__(self) -> int:
        return len(self.first)


class PairCollector:
    """Keeps each pair once, and of too many the first partners of every row.

    Many near-identical rows make a number of pairs that grows with its square. Once there are more than `MOST_PAIRS`,
    each row is left its `MOST_PARTNERS` lowest partners below it, then and from there on. What is left in the end is
    the same in whatever order the pairs come.
    """

    def __init__(self, size: int) -> None:
        self._settled: Keys = np.empty(0, dtype=np.int64)
        self._added: list[Keys] = []
        self._added_count = 0
        # A partner from here on is one too many.
        self._ceilings: Positions = np.full(size, size, dtype=np.int32)
        self.complete = True

    def add(self, first: Positions, second: Positions) -> None:
        """Take pairs, each with `first` below `second`; shape (p,) both. A pair may come twice."""
        self._added.append(second.astype(np.int64) << 32 | first)
        self._added_count += len(first)
        if self._added_count > MOST_PAIRS // 4:
            self._settle()

    def wants(self, first: Positions, second: Positions) -> npt.NDArray[np.bool_]:
        """Return which pairs would be kept if they came, shape (p,)."""
        return first < self._ceilings[second]

    def wants_none(self, left: Positions, right: Positions) -> bool:
        """Return whether no pair of a left and a right row would be kept."""
        if self.complete:
            return False
        lowest = min(left.min(), right.min())
        return bool(lowest >= self._ceilings[left].max() and lowest >= self._ceilings[right].max())

    def pairs(self) -> tuple[Positions, Positions]:
        """Return what is kept: first and second, shape (p,) both, sorted by second, then first."""
        self._settle()
        return self._settled.astype(np.int32), (self._settled >> 32).astype(np.int32)

    def _settle(self) -> None:
        keys = np.concatenate([self._settled, *self._added])
        self._added.clear()
        self._added_count = 0
        keys.sort()
        keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
        if len(keys) > MOST_PAIRS:
            self.complete = False
        self._settled = keys if self.complete else self._cut(keys)

    def _cut(self, keys: Keys) -> Keys:
        second = (keys >> 32).astype(np.int32)
        # The lists are sorted: a partner is one too many if the one that many places before belongs to the same row.
        kept = np.append(np.ones(MOST_PARTNERS, dtype=np.bool_), second[MOST_PARTNERS:] != second[:-MOST_PARTNERS])
        keys, second = keys[kept[: len(keys)]], second[kept[: len(keys)]]
        is_last = second[MOST_PARTNERS - 1 :] == second[: len(second) - MOST_PARTNERS + 1]
        last = keys[MOST_PARTNERS - 1 :][is_last]
        self._ceilings[last >> 32] = last.astype(np.int32)
        return keys
