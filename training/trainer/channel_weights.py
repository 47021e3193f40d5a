"""How much the loss of each channel counts, as a run goes on."""

import math
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from training.config.schema import MIN_PREFERENCE_WEIGHT, TrainingConfig
from training.sampling.plan import Channel

# Share of the newest loss in the running magnitude: the mean of about the last twenty.
_NEWEST = 0.05
# A loss below this share of its channel's first is not scaled up further: there is nothing left to learn from it.
_LEAST_MAGNITUDE = 0.1
# Batches of a channel over which dynamic weighting averages, this window against the one before.
_WINDOW = 10
# The temperature that Liu et al. use.
_TEMPERATURE = 2.0
# A loss that has all but vanished may grow tenfold from one window to the next, which says nothing of its learning.
_LARGEST_RATIO = 2.0


class ChannelWeights:
    """The factor on each channel's loss.

    In a mixed step of both that is the channel's weight; elsewhere it is 1: a channel alone has the step to itself, and
    where channels take turns the schedule keeps the shares. With
    `normalize_losses` the loss is divided by its running mean. With `dynamic_weighting` the weights move to the
    channel whose loss falls less: dynamic weight average, Liu et al. 2019, arXiv 1803.10704, with preference never
    under 0.5.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._base: dict[Channel, float] = {"sft": config.sft_weight, "preference": config.preference_weight}
        self._mixed = config.batch_mixing == "mixed"
        self._normalize = config.normalize_losses
        self._dynamic = config.dynamic_weighting and min(self._base.values()) > 0
        self._first: dict[str, float] = {}
        self._magnitude: dict[str, float] = {}
        self._losses: dict[str, deque[float]] = {name: deque(maxlen=2 * _WINDOW) for name in self._base}

    @property
    def is_dynamic(self) -> bool:
        """Whether the weights move."""
        return self._dynamic

    def lacks_magnitude(self, channel: Channel) -> bool:
        """Return whether the channel's first loss has to be known before its first factor."""
        return self._normalize and channel not in self._magnitude

    def begin(self, channel: Channel, loss: float) -> None:
        """Take the raw loss of the channel's first batch, measured before its first step, as its magnitude."""
        self._first[channel] = self._magnitude[channel] = abs(loss)

    def observe(self, channel: Channel, loss: float) -> None:
        """Take note of the raw loss of a step, which the factors of later steps go by."""
        if channel in self._magnitude:
            self._magnitude[channel] += _NEWEST * (abs(loss) - self._magnitude[channel])
        self._losses[channel].append(loss)

    def scale(self, channel: Channel) -> float:
        """Return what `normalize_losses` multiplies the channel's raw loss by; 1 where it is off."""
        if not self._normalize:
            return 1.0
        return 1.0 / max(self._magnitude[channel], _LEAST_MAGNITUDE * self._first[channel], 1e-8)

    def weights(self) -> dict[Channel, float]:
        """Return the weights as they stand; they sum to 1, and preference has at least half."""
        ratios = {channel: self._ratio(channel) for channel in self._base}
        if not self._dynamic or any(ratio is None for ratio in ratios.values()):
            return dict(self._base)
        pull = {c: weight * math.exp((ratios[c] or 0.0) / _TEMPERATURE) for c, weight in self._base.items()}
        preference = max(pull["preference"] / (pull["sft"] + pull["preference"]), MIN_PREFERENCE_WEIGHT)
        return {"sft": 1 - preference, "preference": preference}

    def factor(self, channel: Channel, *, among: Collection[Channel]) -> float:
        """Return what the channel's raw loss is multiplied by in the loss of a step that the channels `among` take."""
        weights = self.weights()
        whole = sum(weights[each] for each in among) if self._mixed else self._base[channel]
        return self.scale(channel) * weights[channel] / whole

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON."""
        losses = {name: list(values) for name, values in self._losses.items()}
        return {"first": self._first, "magnitude": self._magnitude, "losses": losses}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state where an earlier process left it."""
        self._first, self._magnitude = dict(state["first"]), dict(state["magnitude"])
        for name, values in state["losses"].items():
            self._losses[name] = deque(values, maxlen=2 * _WINDOW)

    def _ratio(self, channel: Channel) -> float | None:
        losses = list(self._losses[channel])
        if len(losses) < 2 * _WINDOW:
            return None
        before, recent = sum(losses[:_WINDOW]), sum(losses[_WINDOW:])
        return min(max(recent / before, 0.0), _LARGEST_RATIO) if before > 0 else 1.0
