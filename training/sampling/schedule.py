"""Which channel takes which step."""

from typing import Literal

import numpy as np
import numpy.typing as npt


def channel_schedule(
    steps: int, *, sft_weight: float, mixing: Literal["interleaved", "alternating"]
) -> npt.NDArray[np.bool_]:
    """Return for each step, shape (steps,), whether the memory channel takes it.

    `interleaved`: of any first n steps, the memory channel has n * `sft_weight` to within half a step. This is
    the low-discrepancy order of Bresenham's line (1965), not a coin flip. `alternating`: strict turns, the
    preference channel first, whatever the weight. A weight of 0 or 1 leaves one channel alone in either order.
    """
    if not 0 <= sft_weight <= 1:
        raise ValueError(f"sft_weight: got {sft_weight}, allowed 0 to 1")
    if sft_weight in (0, 1):
        return np.ones(steps, dtype=np.bool_) if sft_weight else np.zeros(steps, dtype=np.bool_)
    if mixing == "alternating":
        turns: npt.NDArray[np.bool_] = np.arange(steps) % 2 == 1
        return turns
    # Rounding off the twelfth digit keeps 5 * 0.4 at 2, whatever binary fractions make of it.
    due = np.floor(np.round(np.arange(steps + 1) * sft_weight, 12) + 0.5)
    takes: npt.NDArray[np.bool_] = np.diff(due) > 0
    return takes
