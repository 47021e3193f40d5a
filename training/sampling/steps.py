"""The steps of a run."""

from collections.abc import Sequence
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


def drawn(steps: Sequence[PlannedStep], channel: Channel) -> list[int]:
    """Return the positions in the channel's pool that some of the steps draws, in order."""
    return sorted({i for step in steps for batch in step.batches if batch.channel == channel for i in batch.indices})
