"""How much a sample's age counts."""

import numpy as np
import numpy.typing as npt


def recency_weights(
    age_seconds: npt.NDArray[np.float64], *, fast_seconds: float, slow_seconds: float, floor: float
) -> npt.NDArray[np.float64]:
    """Return the recency weight of each sample, shape (n,), the newest at 1 and none under `floor`.

    The weight is max(exp(-age/fast), exp(-age/slow)), relative to the newest sample's. The difference is taken
    between exponents, before they underflow, so that a pool in which everything is months old is weighted as one
    in which everything is fresh. Ages under 0, of a clock that ran ahead, count as 0. With `floor` 1 all weigh
    the same; with 0 nothing holds up what is many decay times older than the newest.
    """
    if age_seconds.size == 0:
        return age_seconds
    age = np.maximum(age_seconds, 0.0)
    exponent = np.maximum(-age / fast_seconds, -age / slow_seconds)
    weights: npt.NDArray[np.float64] = np.maximum(np.exp(exponent - exponent.max()), floor)
    return weights
