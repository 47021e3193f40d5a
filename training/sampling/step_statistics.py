"""What the plan alone says about each step, as metrics."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.sampling.pool import ChannelPool
from training.sampling.schedule import Channel
from training.sampling.steps import PlannedBatch, PlannedStep


def step_statistics(
    steps: Sequence[PlannedStep], pools: Mapping[Channel, ChannelPool]
) -> tuple[Mapping[str, float], ...]:
    """Return the metrics of every step, those of each channel that takes part in it under the channel's prefix.

    `epoch` counts from 0. `recency_mean`, `sampling_weight_mean`, `reward_mean`, each in [0, 1], and
    `age_days_median` are taken over the batch. Where there are clusters, `clusters_in_batch` counts those in the
    batch, and `cluster_coverage` is the share of the pool's clusters, 0 to 1, that the epoch has reached with it.
    """
    meters = {channel: _Meter(pool) for channel, pool in pools.items()}
    return tuple(
        {
            f"{batch.channel}/{name}": value
            for batch in step.batches
            for name, value in meters[batch.channel].read(batch).items()
        }
        for step in steps
    )


class _Meter:
    """Reads a channel's batches in their order, so that it knows what the epoch has reached."""

    def __init__(self, pool: ChannelPool) -> None:
        self._pool = pool
        self._epoch = 0
        self._reached: set[int] = set()
        self._cluster_count = 0 if pool.clusters is None else int(pool.clusters.max()) + 1

    def read(self, batch: PlannedBatch) -> dict[str, float]:
        pool, indices = self._pool, np.array(batch.indices)
        figures = {
            "epoch": float(batch.epoch),
            "recency_mean": float(pool.recency[indices].mean()),
            "sampling_weight_mean": float(pool.weights[indices].mean()),
            "age_days_median": float(np.median(pool.age_days[indices])),
            "reward_mean": float(pool.reward[indices].mean()),
        }
        if pool.clusters is not None:
            found = set(pool.clusters[indices].tolist())
            self._reached = found if batch.epoch != self._epoch else self._reached | found
            self._epoch = batch.epoch
            figures["clusters_in_batch"] = float(len(found))
            figures["cluster_coverage"] = len(self._reached) / self._cluster_count
        return figures
