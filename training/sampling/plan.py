"""The whole course of a run, step by step, before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.config.schema import RecencyDecay, TrainingConfig
from training.datasets import Record
from training.sampling.epochs import batches, effective_size
from training.sampling.recency import recency_weights
from training.sampling.schedule import channel_schedule

Channel = Literal["sft", "preference"]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One optimiser step: positions in the channel's pool, shape (batch_size,), and the channel's epoch (from 0)."""

    channel: Channel
    indices: tuple[int, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All steps of a run, with the sampling weight of every record of either pool, shape (n,)."""

    steps: tuple[PlannedStep, ...]
    sft_weights: npt.NDArray[np.float64]
    preference_weights: npt.NDArray[np.float64]


def sampling_weights(
    records: Sequence[Record], *, now: datetime, decay: RecencyDecay, floor: float
) -> npt.NDArray[np.float64]:
    """Return each record's sampling weight, shape (n,): recency times its own weight."""
    age = np.array([(now - record.created_at).total_seconds() for record in records], dtype=np.float64)
    own = np.array([record.weight for record in records], dtype=np.float64)
    return own * recency_weights(age, fast_seconds=decay.fast, slow_seconds=decay.slow, floor=floor)


def plan_run(config: TrainingConfig, *, sft: Sequence[Record], preference: Sequence[Record], now: datetime) -> RunPlan:
    """Return the course of a run over both pools; the same config, pools and time give the same course."""
    decay, floor = config.recency_decay_seconds, config.recency_floor
    weights: dict[Channel, npt.NDArray[np.float64]] = {
        "sft": sampling_weights(sft, now=now, decay=decay.sft, floor=floor),
        "preference": sampling_weights(preference, now=now, decay=decay.preference, floor=floor),
    }
    sizes: dict[Channel, int] = {"sft": config.sft_batch_size, "preference": config.preference_batch_size}
    # A generator a channel, so that a change in one pool does not reshuffle the other.
    seeds = np.random.SeedSequence(config.seed).spawn(2)
    sources = {
        channel: batches(weights[channel], batch_size=sizes[channel], rng=np.random.default_rng(seed))
        for channel, seed in zip(weights, seeds, strict=True)
    }
    takes_sft = channel_schedule(
        config.max_steps or _steps_for_epochs(config, weights, sizes),
        sft_weight=config.sft_weight,
        mixing=config.batch_mixing,
    )
    steps = []
    for sft_turn in takes_sft:
        channel: Channel = "sft" if sft_turn else "preference"
        batch = next(sources[channel])
        steps.append(PlannedStep(channel, tuple(batch.indices.tolist()), batch.epoch))
    return RunPlan(tuple(steps), weights["sft"], weights["preference"])


def _steps_for_epochs(
    config: TrainingConfig, weights: dict[Channel, npt.NDArray[np.float64]], sizes: dict[Channel, int]
) -> int:
    """Return the steps after which both channels have passed `num_train_epochs` times over their pool."""
    shares: dict[Channel, float] = (
        {"sft": 0.5, "preference": 0.5}
        if config.batch_mixing == "alternating"
        else {"sft": config.sft_weight, "preference": config.preference_weight}
    )
    return max(
        int(
            np.ceil(
                config.num_train_epochs * np.ceil(effective_size(weights[channel]) / sizes[channel]) / shares[channel]
            )
        )
        for channel in weights
        if shares[channel] > 0
    )
