"""Which channel takes which step."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

Channel = Literal["sft", "preference"]
# What people call the channels.
CHANNEL_NAMES: Mapping[Channel, str] = {"sft": "memory", "preference": "preference"}
Mixing = Literal["interleaved", "mixed", "alternating"]


def step_shares(*, sft_weight: float, mixing: Mixing) -> dict[Channel, float]:
    """Return for each channel the share of the steps, 0 to 1, that it has a part in.

    A `sft_weight` of 0 or 1 leaves one channel alone in every mixing.

    Raises:
        ValueError: if `sft_weight` is not in [0, 1].

    """
    if not 0 <= sft_weight <= 1:
        raise ValueError(f"sft_weight: got {sft_weight}, allowed 0 to 1")
    if sft_weight in (0, 1) or mixing == "interleaved":
        return {"sft": sft_weight, "preference": 1 - sft_weight}
    share = 1.0 if mixing == "mixed" else 0.5
    return {"sft": share, "preference": share}


def channel_turns(steps: int, *, sft_weight: float, mixing: Mixing) -> tuple[tuple[Channel, ...], ...]:
    """Return for each of `steps` steps the channels that take it, memory first.

    `interleaved`: of any first n steps, the memory channel has n * `sft_weight` to within half a step. This is
    the low-discrepancy order of Bresenham's line (1965, doi 10.1147/sj.41.0025), not a coin flip. `alternating`:
    strict turns, the preference channel first, whatever the weight. `mixed`: both channels take every step. A
    weight of 0 or 1 leaves one channel alone in every mixing.

    Raises:
        ValueError: if `sft_weight` is not in [0, 1].

    """
    shares = step_shares(sft_weight=sft_weight, mixing=mixing)
    if min(shares.values()) == 1:
        return (("sft", "preference"),) * steps
    due = np.floor(np.arange(steps + 1) * shares["sft"] + (0.0 if mixing == "alternating" else 0.5))
    return tuple(("sft",) if is_due else ("preference",) for is_due in np.diff(due) > 0)
