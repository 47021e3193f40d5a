"""Which samples an epoch draws."""

from collections.abc import Callable, Iterator
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

    Raises:
        ValueError: if no weight is above 0.

    """
    if weights.size == 0 or weights.max() <= 0:
        raise ValueError(f"weights: got {weights.size} of which none is above 0, allowed at least one")
    return max(1, round(float(weights.sum() / weights.max())))


def draw_epoch(
    weights: npt.NDArray[np.float64],
    *,
    size: int,
    rng: np.random.Generator,
    strata: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Draw one epoch without replacement, in random order; shape (`size`,) at most.

    Every sample is drawn with a probability proportional to its weight: systematic sampling from a shuffled
    list, Madow 1949, doi 10.1214/aoms/1177729988. A weight of 0 is never drawn. With `strata`, labels of shape (n,),
    each of them is drawn from as often as its weight says, to within one sample.
    """
    order = rng.permutation(len(weights))
    if strata is not None:
        # In an order of its own every epoch, so that no two small strata exclude each other for good.
        places = rng.permutation(int(strata.max()) + 1)
        order = order[np.argsort(places[strata[order]], kind="stable")]
    reach = np.cumsum(weights[order])
    ticks = (np.arange(size) + rng.random()) * (reach[-1] / size)
    drawn = np.unique(order[np.searchsorted(reach, ticks, side="right").clip(max=len(weights) - 1)])
    return rng.permutation(drawn)


def batches(draw: Callable[[], npt.NDArray[np.int64]], *, batch_size: int) -> Iterator[DrawnBatch]:
    """Yield batches of `batch_size` for ever, epoch after epoch, each as `draw` gives it.

    The last batch of an epoch takes what is left, so that it may be smaller.
    """
    epoch = 0
    while True:
        drawn = draw()
        for start in range(0, len(drawn), batch_size):
            yield DrawnBatch(drawn[start : start + batch_size], epoch)
        epoch += 1
