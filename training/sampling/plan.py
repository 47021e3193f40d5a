"""The whole course of a run, step by step, before anything is loaded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import numpy.typing as npt

from training.config.schema import TrainingConfig
from training.datasets import Record
from training.sampling.clusters import Labels, Vectors
from training.sampling.epochs import batches
from training.sampling.pool import ChannelPool, channel_pool
from training.sampling.schedule import Channel, channel_turns, step_shares
from training.sampling.step_statistics import step_statistics
from training.sampling.steps import PlannedBatch, PlannedStep

__all__ = ["Channel", "PlannedBatch", "PlannedStep", "PoolSampling", "RunPlan", "plan_run"]


@dataclass(frozen=True, slots=True)
class PoolSampling:
    """How a pool is drawn: the sampling weight of every record, shape (n,), and its cluster where there are any."""

    weights: npt.NDArray[np.float64]
    clusters: Labels | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All steps of a run, with how either pool is drawn.

    `statistics` has the metrics of each step that follow from the plan alone: recency, coverage of the clusters.
    """

    steps: tuple[PlannedStep, ...]
    sft: PoolSampling
    preference: PoolSampling
    statistics: tuple[Mapping[str, float], ...] = ()


def plan_run(
    config: TrainingConfig,
    *,
    sft: Sequence[Record],
    preference: Sequence[Record],
    embeddings: Mapping[Channel, Vectors | None],
    now: datetime,
) -> RunPlan:
    """Return the course of a run over both pools; the same config, pools, embeddings and time give the same course.

    `embeddings` are for each channel the unit rows of its records, float32, shape (n, d), or None, which leaves it
    without clusters. A channel whose pool is empty takes no step.

    Raises:
        ValueError: if a pool has no record that may be drawn.

    """
    # Seeds of its own for each channel, so that a change in one pool does not reshuffle the other.
    sft_seed, preference_seed = np.random.SeedSequence(config.seed).spawn(2)
    seeds: dict[Channel, np.random.SeedSequence] = {"sft": sft_seed, "preference": preference_seed}
    records: dict[Channel, Sequence[Record]] = {"sft": sft, "preference": preference}
    pools = {
        channel: channel_pool(
            records[channel],
            channel=channel,
            config=config,
            vectors=embeddings[channel],
            now=now,
            seed=int(seed.generate_state(1)[0]),
        )
        for channel, seed in seeds.items()
        if records[channel]
    }
    steps = _steps(config, pools, {channel: np.random.default_rng(seeds[channel]) for channel in pools})
    return RunPlan(
        steps, _sampling(pools.get("sft")), _sampling(pools.get("preference")), step_statistics(steps, pools)
    )


def _sampling(pool: ChannelPool | None) -> PoolSampling:
    return PoolSampling(np.empty(0)) if pool is None else PoolSampling(pool.weights, pool.clusters)


def _steps(
    config: TrainingConfig, pools: Mapping[Channel, ChannelPool], rngs: Mapping[Channel, np.random.Generator]
) -> tuple[PlannedStep, ...]:
    sizes: dict[Channel, int] = {"sft": config.sft_batch_size, "preference": config.preference_batch_size}
    sources = {
        channel: batches(partial(pool.draw_epoch, rngs[channel]), batch_size=sizes[channel])
        for channel, pool in pools.items()
    }
    # A channel without pairs leaves every step to the other.
    sft_weight = config.sft_weight if len(pools) == 2 else float("sft" in pools)
    turns = channel_turns(
        config.max_steps or _steps_for_epochs(config, pools, sizes, sft_weight=sft_weight),
        sft_weight=sft_weight,
        mixing=config.batch_mixing,
    )
    steps = []
    for channels in turns:
        drawn = [(channel, next(sources[channel])) for channel in channels]
        steps.append(
            PlannedStep(tuple(PlannedBatch(channel, tuple(b.indices.tolist()), b.epoch) for channel, b in drawn))
        )
    return tuple(steps)


def _steps_for_epochs(
    config: TrainingConfig,
    pools: Mapping[Channel, ChannelPool],
    sizes: Mapping[Channel, int],
    *,
    sft_weight: float,
) -> int:
    """Return the steps after which each channel has passed `num_train_epochs` times over its pool."""
    shares = step_shares(sft_weight=sft_weight, mixing=config.batch_mixing)
    needed = [
        config.num_train_epochs * math.ceil(pool.epoch_size / sizes[channel]) / shares[channel]
        for channel, pool in pools.items()
        if shares[channel] > 0
    ]
    # Rounded first, so that binary fractions do not add a step to a whole number.
    return math.ceil(round(max(needed), 9))
