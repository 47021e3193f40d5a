"""What happens between two optimiser steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from training.sampling.plan import Channel

if TYPE_CHECKING:
    from training.trainer.dual import DualChannelTrainer

Measure = Callable[[], Mapping[Channel, float | None]]


class StepEnd(TrainerCallback):
    """Reports each step as it ends; stops channels that stand still, and a run that was asked to stop."""

    def __init__(self, trainer: DualChannelTrainer, measure: Measure) -> None:
        self._trainer = trainer
        self._measure = measure
        self._learning_rate = self._began = 0.0

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note the time, and the rate of the step, which the scheduler moves on before the step's end."""
        self._learning_rate = float(kwargs["optimizer"].param_groups[0]["lr"])
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the step, then decide whether there is another."""
        trainer = self._trainer
        trainer.report_step(self._learning_rate, time.monotonic() - self._began)
        every = trainer.course.plateaus.settings.every_steps
        if every is not None and state.global_step % every == 0:
            self._stop_what_stands_still(state.global_step, control)
        if trainer.any_process_stops():
            control.should_save = control.should_training_stop = True

    def _stop_what_stands_still(self, step: int, control: TrainerControl) -> None:
        trainer = self._trainer
        plateaus = trainer.course.plateaus
        for channel, value in self._measure().items():
            if channel not in trainer.stopped:
                plateaus.observe(channel, value)
        trained = trainer.course.channels
        stopped = {channel for channel in trained if plateaus.stands_still(channel)}
        if stopped == trained:
            control.should_training_stop = True
        else:
            # The preference channel goes on as long as the memory channel does: its share never falls.
            stopped.discard("preference")
        trainer.stop_channels(stopped, step)
