"""When a channel has learned what it can."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.config.schema import EarlyStopping
from training.sampling.plan import Channel


@dataclass
class Plateaus:
    """Which channels no longer improve.

    A channel stands still once `patience` measurements in a row bring no relative gain of `min_improvement` over the
    best so far: Prechelt 1998, doi 10.1007/3-540-49430-8_3. Higher is better; what cannot be measured never stops, nor
    does a recall that is still 0: nothing has been learned yet.
    """

    settings: EarlyStopping
    best: dict[str, float] = field(default_factory=dict)
    stale: dict[str, int] = field(default_factory=dict)

    def observe(self, channel: Channel, value: float | None) -> None:
        """Take note of a measurement of the channel."""
        if value is None:
            return
        best = self.best.get(channel)
        if best is None or value > best + self.settings.min_improvement * max(abs(best), 1e-8):
            self.best[channel], self.stale[channel] = value, 0
        elif best != 0:
            self.stale[channel] = self.stale.get(channel, 0) + 1

    def stands_still(self, channel: Channel) -> bool:
        """Return whether the channel has stopped improving."""
        return self.stale.get(channel, 0) >= self.settings.patience

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON."""
        return {"best": self.best, "stale": self.stale}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state where an earlier process left it."""
        self.best, self.stale = dict(state["best"]), dict(state["stale"])
