"""Which pair goes to which: one by one, best first, and only to pairs that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maintenance.similarity import SimilarPairs

Rows = npt.NDArray[np.int32]
Verdicts = npt.NDArray[np.uint8]

# What is found about two similar rows: two different things, the same thing, the same thing with another fact.
APART, SAME, DIFFERENT_FACTS = np.uint8(0), np.uint8(1), np.uint8(2)
KEPT = -1

# Pairs that are judged together.
PORTION_PAIRS = 50_000

Judge = Callable[[Rows, Rows], Verdicts]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where each row goes.

    Attributes:
        into: the row that stands for it, `KEPT` where it stays, shape (n,).
        similarity: its cosine with that one, shape (n,).
        verdicts: what was found about each pair, shape (p,); `APART` where that was of no matter any more.

    """

    into: Rows
    similarity: npt.NDArray[np.float32]
    verdicts: Verdicts


def assign(
    found: SimilarPairs, *, count: int, judge: Judge, on_progress: Callable[[float], None] = lambda share: None
) -> Assignment:
    """Return which of `count` rows, best first, stay, and to which of these the others go.

    Each row in turn goes to the most similar row before it that stays and is the same thing; if there is none, it
    stays. So two rows that stay are never the same thing, and a chain of rows that are each a little different from
    the last does not collapse, as it would in single linkage.

    Args:
        found: pairs of similar rows.
        count: the number of rows.
        judge: returns what is found about the pairs (`first[i]`, `second[i]`), `first` before `second`; shape (k,).
        on_progress: called now and then with the share that is done, 0 to 1.

    """
    into: Rows = np.full(count, KEPT, dtype=np.int32)
    similarity = np.zeros(count, dtype=np.float32)
    verdicts: Verdicts = np.zeros(len(found), dtype=np.uint8)
    for start, end in _portions(found.second):
        # Rows of this portion may yet go; their pairs are judged for nothing.
        open_pairs = start + np.flatnonzero(into[found.first[start:end]] == KEPT)
        verdicts[open_pairs] = judge(found.first[open_pairs], found.second[open_pairs])
        same = open_pairs[verdicts[open_pairs] == SAME]
        best_first = np.lexsort((found.first[same], -found.similarity[same], found.second[same]))
        for pair in same[best_first]:
            row, other = found.second[pair], found.first[pair]
            if into[row] == KEPT and into[other] == KEPT:
                into[row], similarity[row] = other, found.similarity[pair]
        on_progress(end / len(found))
    return Assignment(into, similarity, verdicts)


def _portions(second: Rows) -> Iterator[tuple[int, int]]:
    """Yield beginnings and ends of portions; the pairs of one `second` are never divided."""
    start = 0
    while start < len(second):
        last = min(start + PORTION_PAIRS, len(second)) - 1
        end = int(np.searchsorted(second, second[last], side="right"))
        yield start, end
        start = end
