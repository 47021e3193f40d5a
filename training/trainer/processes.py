"""The processes of one run, as `accelerate launch` starts them."""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list, parse_flag_from_env

from training.sampling.plan import PlannedBatch

_Value = TypeVar("_Value")

# Each process holds the whole model; only gradients travel.
_WHOLE_MODELS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
# How `accelerate launch` asks for the others, of which the state knows only once a trainer is made.
_SHARDED = {
    "ACCELERATE_USE_FSDP": DistributedType.FSDP,
    "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED,
    "ACCELERATE_USE_MEGATRON_LM": DistributedType.MEGATRON_LM,
}


class LaunchError(ValueError):
    """The processes were started in a way that the trainer cannot work in; says which are allowed."""


def check_launch() -> None:
    """Refuse processes that do not each hold the whole model; to be called in each of them, before anything else.

    Raises:
        LaunchError: they do not; the processes beside the first one exit without a word.

    """
    asked = [kind for flag, kind in _SHARDED.items() if parse_flag_from_env(flag)]
    kind = asked[0] if asked else _state().distributed_type
    if kind in _WHOLE_MODELS:
        return
    if os.environ.get("RANK", "0") != "0":
        raise SystemExit(1)
    raise LaunchError(
        f"accelerate launch: got the distributed type {kind.value}, allowed one process, or data parallel ones, each "
        f"with the whole model (MULTI_CPU or MULTI_GPU); docs/scaling.md says why"
    )


def is_main_process() -> bool:
    """Return whether this process writes what all of them did; true where there is but one."""
    return bool(_state().is_main_process)


def process_device() -> torch.device:
    """Return what this process computes on: its own GPU, or the processor."""
    device: torch.device = _state().device
    return device


def from_main_process(value: _Value | None) -> _Value:
    """Return the main process's `value` in every process; the others may pass None."""
    _state()
    shared = [value]
    broadcast_object_list(shared)
    assert shared[0] is not None, "the main process passes a value"  # noqa: S101
    return shared[0]


def is_divided(batch: PlannedBatch, *, processes: int) -> bool:
    """Return whether each process trains a part of the batch; one that does not come out even each trains whole."""
    return len(batch.indices) % processes == 0


def tokens_of_all(mean: float, batches: Sequence[PlannedBatch], *, processes: int) -> float:
    """Return the tokens of a step in which each process had `mean` on average; what each trains whole counts once.

    Where a mixed step has a batch of either kind, that which each trains whole is counted as often as it is trained.
    """
    return mean * processes if any(is_divided(batch, processes=processes) for batch in batches) else mean


def _state() -> PartialState:
    # Without a GPU, Accelerate looks for other processes only where it is told to compute on the processor.
    return PartialState(cpu=not torch.accelerator.is_available())
