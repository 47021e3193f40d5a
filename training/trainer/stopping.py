"""A run that is asked to stop: it ends its step, saves it, goes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Protocol

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(RuntimeError):  # noqa: N818 - it is no error
    """A signal stopped the run after `step`, which `checkpoint` holds."""

    def __init__(self, step: int, checkpoint: Path | None) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step
        self.checkpoint = checkpoint


class Stoppable(Protocol):
    """What can be asked to stop."""

    stop_requested: bool


@contextlib.contextmanager
def stops_on_signals(trainer: Stoppable) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a request to stop after the step; a second one interrupts at once.

    Signals belong to the main thread: in any other, as in a worker's, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stop_requested:
            raise KeyboardInterrupt
        trainer.stop_requested = True

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
