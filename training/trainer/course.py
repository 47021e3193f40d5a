"""What a run trains, in which order, under which rules."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from training.sampling.plan import Channel, PlannedStep
from training.sampling.steps import drawn
from training.trainer.batches import Example
from training.trainer.channel_weights import ChannelWeights
from training.trainer.plateau import Plateaus
from training.trainer.retention import Retention


@dataclass(slots=True)
class Course:
    """A planned run: the examples of both channels, the steps over them, their rates and weights.

    `rates` are peak learning rates, `shares` the channels' weights in a mixed step, `parts` the least number of
    micro-batches that a step is divided into. `statistics` has the metrics of each step that the plan knows.
    """

    sft: Sequence[Example]
    preference: Sequence[Example]
    steps: Sequence[PlannedStep]
    rates: Mapping[Channel, float]
    shares: Mapping[Channel, float]
    weights: ChannelWeights
    plateaus: Plateaus
    parts: int = 1
    retention: Retention | None = None
    statistics: Sequence[Mapping[str, float]] = ()

    @property
    def channels(self) -> set[Channel]:
        """The channels that some step trains."""
        return {batch.channel for step in self.steps for batch in step.batches}

    def rate(self, planned: PlannedStep, *, stopped: Collection[Channel] = ()) -> float:
        """Return the peak learning rate of a step: its channel's, or of two channels the mean by their shares.

        Channels that `stopped` do not count, unless the step has no other.
        """
        drawn_from = [batch.channel for batch in planned.batches]
        channels = [channel for channel in drawn_from if channel not in stopped] or drawn_from
        total = sum(self.shares[channel] for channel in channels)
        return sum(self.shares[channel] * self.rates[channel] for channel in channels) / total

    def used(self, channel: Channel) -> list[int]:
        """Return the positions in the channel's pool that some step draws, in order."""
        return drawn(self.steps, channel)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimiser step did: its number (from 1), its plan, and its metrics by name.

    `trained` are the channels that took part; one that has learned what it can is passed over.
    """

    step: int
    planned: PlannedStep
    trained: tuple[Channel, ...]
    metrics: Mapping[str, float]

    def loss(self, channel: Channel) -> float | None:
        """Return the channel's raw loss in nats, or None where it had no part in the step."""
        return self.metrics.get(f"{channel}/loss")


@dataclass(slots=True)
class StepMetrics:
    """Metrics of a step, gathered over its micro-batches: parts of a sum, and means that count by their weight."""

    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _weights: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add_part(self, name: str, value: float) -> None:
        """Add a micro-batch's part of a sum."""
        self.parts[name] += value

    def add_mean(self, name: str, value: float, *, weight: float) -> None:
        """Add a micro-batch's mean, which counts by `weight`."""
        self._sums[name] += value * weight
        self._weights[name] += weight

    def values(self) -> dict[str, float]:
        """Return all metrics of the step."""
        return {**self.parts, **{name: total / self._weights[name] for name, total in self._sums.items()}}
