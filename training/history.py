"""The course of a run on disk: a line for each optimiser step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.artifacts import write_text
from training.sampling.plan import Channel, PlannedStep

if TYPE_CHECKING:
    from training.trainer.course import StepResult

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class StepLine:
    """One optimiser step as it is kept: its number (from 1), the channels that took part, its metrics by name."""

    step: int
    trained: tuple[Channel, ...]
    metrics: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the step as one flat object."""
        return {"step": self.step, "trained": list(self.trained), **self.metrics}


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """The course of one channel: raw losses in nats (None without a batch), batches, and different pairs used."""

    loss_first: float | None
    loss_last: float | None
    batches: int
    pairs_used: int


@dataclass(slots=True)
class History:
    """The steps of a run so far, each written to `path` as it is added.

    Every line also counts the different pairs that each channel has used up to it (`sft/pairs_used`).
    """

    path: Path
    steps: Sequence[PlannedStep]
    lines: list[StepLine] = field(default_factory=list)
    _used: dict[Channel, Counter[int]] = field(default_factory=lambda: {"sft": Counter(), "preference": Counter()})

    @classmethod
    def open(cls, path: Path, steps: Sequence[PlannedStep], *, until: int) -> History:
        """Return the history in `path` up to the step `until`; later lines leave the file.

        They belong to steps after the checkpoint from which a run goes on, which will be taken again. A kill may have
        cut the last line short, which is then one of them.
        """
        kept = path.read_text(encoding="utf-8").splitlines()[:until] if path.is_file() else []
        write_text(path, "".join(f"{line}\n" for line in kept))
        history = cls(path, steps)
        for text in kept:
            content = json.loads(text)
            step, trained = content.pop("step"), tuple(content.pop("trained"))
            history._count(step, trained)
            history.lines.append(StepLine(step, trained, content))
        return history

    def add(self, result: StepResult) -> None:
        """Write down a step that has ended."""
        self._count(result.step, result.trained)
        used = {f"{channel}/pairs_used": float(len(self._used[channel])) for channel in result.trained}
        line = StepLine(result.step, result.trained, {**result.metrics, **used})
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line.as_json()) + "\n")

    def uses(self, channel: Channel) -> Mapping[int, int]:
        """Return how often each position of the channel's pool was used; only those that were."""
        return self._used[channel]

    def outcome(self, channel: Channel) -> ChannelOutcome:
        """Return what the channel came to."""
        losses = [line.metrics[f"{channel}/loss"] for line in self.lines if channel in line.trained]
        return ChannelOutcome(
            loss_first=losses[0] if losses else None,
            loss_last=losses[-1] if losses else None,
            batches=len(losses),
            pairs_used=len(self._used[channel]),
        )

    def epochs(self, channel: Channel) -> int:
        """Return how many passes over its pool the channel has begun."""
        taken = (self.steps[line.step - 1] for line in self.lines if channel in line.trained)
        epochs = (batch.epoch for step in taken for batch in step.batches if batch.channel == channel)
        return 1 + max(epochs, default=-1)

    def _count(self, step: int, trained: Sequence[Channel]) -> None:
        for batch in self.steps[step - 1].batches:
            if batch.channel in trained:
                self._used[batch.channel].update(batch.indices)
