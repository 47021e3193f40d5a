"""Pairs that lie in one cell of space, or on both sides of a border close to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maintenance.similarity.comparison import TILE_ROWS, Comparison
from maintenance.similarity.products import gathered, in_steps, ordered, ordered_floor, rounding
from maintenance.similarity.rows import BLOCK_ROWS, Positions
from maintenance.similarity.sketches import FLOAT32_ERROR

if TYPE_CHECKING:
    from torch import Tensor

FEWEST_CELLS, MOST_CELLS = 128, 4_096
ITERATIONS = 8
ROWS_PER_CELL = 32
SEED = 0
SAMPLE_ROWS = 1_024
# So many visits are gathered before their cells are compared.
PENDING_VISITS = 1 << 22

CellNumbers = npt.NDArray[np.uint16]


def cell_count(size: int) -> int:
    """Return how many cells `size` rows are divided into."""
    return min(max(round(4 * math.sqrt(size)), FEWEST_CELLS), MOST_CELLS, size)


class Cells:
    """A division of space into cells by great hyperplanes, in which no similar pair is lost.

    Every cell has a centre; a row's home is the cell whose centre has the largest scalar product with it. Between two
    cells a and b runs the hyperplane through the origin that is perpendicular to a - b. Let x, at home in a, and y, at
    home in b, be unit rows whose angle is at most θ. The angle between x and y is at least the sum of their angles to
    the hyperplane if it separates them, so that one of the two is within θ/2 of it:

        x·(a - b) <= sin(θ/2) |a - b|    or    y·(b - a) <= sin(θ/2) |a - b|,    sin(θ/2) = sqrt((1 - cos θ) / 2).

    A row visits all cells for which it fulfils its inequality; then every pair that is similar shares a home, or one
    visits the other's. The argument needs no nearest home and no particular centre: they decide how fast the search
    is, not what it finds. The division is that of generalized hyperplane trees, Uhlmann 1991,
    doi 10.1016/0020-0190(91)90074-R; the distance to the hyperplane itself, where a metric space has but a bound of
    it, is used by Connor et al. 2017, arXiv 1707.08361. Centres come from a few rounds of spherical k-means on a
    sample, Dhillon and Modha 2001, doi 10.1023/A:1007612920971.
    """

    def __init__(self, sketches: Tensor, *, count: int, threshold: float) -> None:
        self._sketches = sketches
        self._centres = _centres(sketches, count)
        step = rounding(sketches.dtype)
        # A row's sketch is off by `step` of its length.
        margin = math.sqrt((1 - threshold + FLOAT32_ERROR) / 2) + step + FLOAT32_ERROR
        self._reach = _reach(self._centres, margin=margin, step=step)
        homes = _nearest(sketches, self._centres)
        self._order: Positions = np.argsort(homes, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(homes[self._order], np.arange(count + 1))

    def compare(self, comparison: Comparison, *, on_progress: Callable[[int], None]) -> None:
        """Compare the rows of each cell with each other and with their visitors.

        `on_progress` hears now and then how many rows have been everywhere.
        """
        visits: list[tuple[Positions, CellNumbers]] = []
        visit_count = 0
        for home in range(len(self._centres)):
            residents = self._residents(home)
            comparison.within(residents)
            for start in range(0, len(residents), BLOCK_ROWS):
                visits.append(self._visits(residents[start : start + BLOCK_ROWS], home))
                visit_count += len(visits[-1][0])
                if visit_count > PENDING_VISITS:
                    self._receive(comparison, visits)
                    visit_count = 0
                    on_progress(int(self._starts[home]) + start)
        self._receive(comparison, visits)
        comparison.finish()
        on_progress(len(self._order))

    def expected_share(self) -> float:
        """Return about how many pairs are compared in cells, as a share of all; above 1 where cells are of no use."""
        size = len(self._order)
        residents = np.diff(self._starts)
        sample = np.linspace(0, size - 1, min(size, SAMPLE_ROWS)).astype(np.int64)
        homes = np.searchsorted(self._starts, sample, side="right") - 1
        met = 0
        for home in np.unique(homes):
            visited = self._visits(self._order[sample[homes == home]], int(home))[1]
            met += int(residents[visited].sum())
        at_home = float((residents.astype(np.float64) ** 2).sum()) / 2
        return (met * size / len(sample) + at_home) / (size**2 / 2)

    def _residents(self, cell: int) -> Positions:
        return self._order[self._starts[cell] : self._starts[cell + 1]]

    def _visits(self, positions: Positions, home: int) -> tuple[Positions, CellNumbers]:
        """Return rows of one home with the cells that they visit, shape (v,) both."""
        from torch.nn import functional  # heavy: whoever only names this package must not wait for it

        sketches = gathered(self._sketches, in_steps(positions))
        scores = functional.linear(sketches, self._centres, self._reach[home])
        own = (sketches.float() @ self._centres[home].float()).numpy() - np.float32(FLOAT32_ERROR)
        is_visit = (ordered(scores) >= ordered_floor(own, sketches.dtype)[:, None])[: len(positions)]
        is_visit[:, home] = False
        row, cell = np.divmod(np.flatnonzero(is_visit), len(self._centres))
        return positions[row], cell.astype(np.uint16)

    def _receive(self, comparison: Comparison, visits: list[tuple[Positions, CellNumbers]]) -> None:
        if not visits:
            return
        visitors, cells = (np.concatenate(each) for each in zip(*visits, strict=True))
        visits.clear()
        order = np.argsort(cells, kind="stable")
        visitors = visitors[order]
        starts = np.searchsorted(cells[order], np.arange(len(self._centres) + 1))
        for cell in np.flatnonzero(np.diff(starts)).tolist():
            comparison.between(visitors[starts[cell] : starts[cell + 1]], self._residents(cell))


def _centres(sketches: Tensor, count: int) -> Tensor:
    """Return the centres of `count` cells, shape (count, k), in the precision of the sketches."""
    import torch  # heavy, see above

    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(sketches), min(len(sketches), count * ROWS_PER_CELL), replace=False)
    sample = gathered(sketches, chosen.astype(np.int32))
    centres = sample[:count].float()
    for _ in range(ITERATIONS):
        nearest = torch.from_numpy(_nearest(sample, centres.to(sample.dtype)).astype(np.int64))
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample.float())
        lengths = sums.norm(dim=1, keepdim=True)
        # A centre that has no row stays where it was.
        centres = torch.where(lengths > 0, sums / lengths.clamp(min=torch.finfo(torch.float32).tiny), centres)
    return centres.to(sketches.dtype)


def _nearest(sketches: Tensor, centres: Tensor) -> CellNumbers:
    """Return for each sketch the centre of the largest product, shape (m,)."""
    nearest = np.empty(len(sketches), dtype=np.uint16)
    for start in range(0, len(sketches), TILE_ROWS):
        block = slice(start, start + TILE_ROWS)
        nearest[block] = ordered(sketches[block] @ centres.T).argmax(axis=1)
    return nearest


def _reach(centres: Tensor, *, margin: float, step: float) -> Tensor:
    """Return by how much a row of one cell may be closer to its centre than to another's and still visit it.

    Shape (cells, cells), in the precision of `centres`.
    """
    import torch  # heavy, see above

    exact = centres.double()
    squared = exact.square().sum(dim=1)
    reach = torch.empty((len(centres), len(centres)), dtype=centres.dtype)
    for start in range(0, len(centres), 256):
        block = slice(start, start + 256)
        distances = (squared[block, None] + squared - 2 * exact[block] @ exact.T).clamp_(min=0).sqrt_()
        reaches = distances * margin
        # A product of at most 1, the reach, and the sum of both are rounded.
        reach[block] = (reaches + 2 * step * (1 + step + reaches)).to(centres.dtype)
    return reach
