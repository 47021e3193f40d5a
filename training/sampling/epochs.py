"""Which samples an epoch draws."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class DrawnBatch:
    """Positions in the pool, shape (batch_size,), with the epoch (from 0) that drew them."""

    indices: npt.NDArray[np.int64]
    epoch: int


def effective_size(weights: npt.NDArray[np.float64]) -> int:
    """Return how many samples an epoch draws: sum of the weights over the largest, at least 1.

    It is the largest sample for which every weight can be a probability of being drawn: equal weights draw the
    whole pool, and one weight far above the rest draws little else.
    """
    return max(1, round(float(weights.sum() / weights.max())))


def draw_epoch(weights: npt.NDArray[np.float64], *, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw one epoch without replacement, in random order; shape (`effective_size(weights)`,) at most.

    Every sample is drawn with a probability proportional to its weight: systematic sampling from a shuffled
    list, Madow 1949, doi 10.1214/aoms/1177729988. A weight of 0 is never drawn.
    """
    size = effective_size(weights)
    order = rng.permutation(len(weights))
    reach = np.cumsum(weights[order])
    ticks = (np.arange(size) + rng.random()) * (reach[-1] / size)
    drawn = np.unique(order[np.searchsorted(reach, ticks, side="right").clip(max=len(weights) - 1)])
    return rng.permutation(drawn)


def batches(weights: npt.NDArray[np.float64], *, batch_size: int, rng: np.random.Generator) -> Iterator[DrawnBatch]:
    """Yield batches of `batch_size` for ever, epoch after epoch; no sample twice within an epoch.

    The last batch of an epoch takes what is left, so that it may be smaller.

    Raises:
        ValueError: if no weight is above 0.

    """
    if weights.size == 0 or weights.max() <= 0:
        raise ValueError(f"weights: got {weights.size} of which none is above 0, allowed at least one")
    epoch = 0
    while True:
        drawn = draw_epoch(weights, rng=rng)
        for start in range(0, len(drawn), batch_size):
            yield DrawnBatch(drawn[start : start + batch_size], epoch)
        epoch += 1
