"""The steps of a run."""

from dataclasses import dataclass

from training.sampling.schedule import Channel


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """The batch of one channel: positions in its pool, shape (batch_size,), and the channel's epoch (from 0)."""

    channel: Channel
    indices: tuple[int, ...]
    epoch: int


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One optimiser step: the batch of one channel, or, mixed, that of each, memory first."""

    batches: tuple[PlannedBatch, ...]
