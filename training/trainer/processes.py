"""The processes of one run, as `accelerate launch` starts them."""

from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

_Value = TypeVar("_Value")


def is_main_process() -> bool:
    """Return whether this process writes what all of them did; true where there is but one."""
    return bool(_state().is_main_process)


def process_count() -> int:
    """Return the number of processes."""
    return int(_state().num_processes)


def from_main_process(value: _Value | None) -> _Value:
    """Return the main process's `value` in every process; the others may pass None."""
    _state()
    shared = [value]
    broadcast_object_list(shared)
    assert shared[0] is not None, "the main process passes a value"  # noqa: S101
    return shared[0]


def _state() -> PartialState:
    # Without a GPU, Accelerate looks for other processes only where it is told to compute on the processor.
    return PartialState(cpu=not torch.accelerator.is_available())
