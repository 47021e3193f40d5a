"""How heavily a sample is drawn for where it comes from."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt


def divided(
    weights: npt.NDArray[np.float64], *, groups: Sequence[str], shares: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """Return the weights, shape (n,), scaled so that the draws divide over the groups as their shares say.

    `shares` are relative to one another, each at least 0; groups without a sample are left out, those with a share
    of 0 are never drawn. Within a group the proportions stay; the largest weight becomes 1.

    Raises:
        ValueError: if every group that has samples has a share of 0.

    """
    names = np.array(groups)
    scaled = np.zeros_like(weights)
    for name, share in shares.items():
        members = names == name
        total = weights[members].sum()
        if total > 0:
            scaled[members] = weights[members] * (share / total)
    if not scaled.any():
        found = ", ".join(sorted(set(groups)))
        raise ValueError(f"preference_shares: got 0 for all groups with pairs ({found}), allowed one above 0")
    scaled /= scaled.max()
    return scaled
