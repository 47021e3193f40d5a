"""A planned run in numbers, for a person or a script to judge before it starts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets import Record
from training.sampling.plan import Channel, RunPlan


def summarise(
    plan: RunPlan, *, sft: Sequence[Record], preference: Sequence[Record], held_out: dict[Channel, int]
) -> dict[str, Any]:
    """Return the plan of a run: steps, and for each channel its pool, its batches and how it is drawn.

    `sampling_weights` gives the least, median and largest sampling weight; `epochs` counts the passes begun.
    """
    return {
        "steps": len(plan.steps),
        "sft": _channel(plan, "sft", sft, plan.sft_weights, held_out["sft"]),
        "preference": _channel(plan, "preference", preference, plan.preference_weights, held_out["preference"]),
    }


def _channel(
    plan: RunPlan, channel: Channel, pool: Sequence[Record], weights: npt.NDArray[np.float64], held_out: int
) -> dict[str, Any]:
    steps = [step for step in plan.steps if step.channel == channel]
    drawn = {index for step in steps for index in step.indices}
    return {
        "pool": len(pool),
        "held_out": held_out,
        "batches": len(steps),
        "share_of_steps": len(steps) / len(plan.steps),
        "pairs_drawn": len(drawn),
        "epochs": max((step.epoch for step in steps), default=-1) + 1,
        "sampling_weights": {
            "min": float(weights.min()),
            "median": float(np.median(weights)),
            "max": float(weights.max()),
        },
        "oldest": min(record.created_at for record in pool).isoformat(),
        "newest": max(record.created_at for record in pool).isoformat(),
    }
