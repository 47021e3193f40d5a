"""The plan of a run with what it will take, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.utils import timezone

from training.config import TrainingConfig
from training.estimate import estimate_memory, expected_seconds
from training.plan_summary import summarise
from training.preparation import Places, prepare


def planned_run(config: TrainingConfig, *, config_path: Path, places: Places) -> dict[str, Any]:
    """Return the plan of a run by `config`, as `summarise` has it, with why its memory could not be estimated.

    Nothing is stored.

    Raises:
        NotEnoughPairs: a channel has fewer pairs than the config asks for.
        ValueError, OSError: a file that the config names cannot be used.

    """
    now = timezone.now()
    prepared = prepare(config, config_path=config_path, places=places, now=now, store=False)
    memory = estimate_memory(prepared, models_dir=places.models)
    summary = summarise(
        prepared.plan,
        sft=prepared.sft.train,
        preference=prepared.preference.train,
        held_out={"sft": len(prepared.sft.held_out), "preference": len(prepared.preference.held_out)},
        now=now,
        memory_estimate_bytes=memory.total_bytes,
        expected_seconds=expected_seconds(prepared),
    )
    return {**summary, "memory_estimate_reason": memory.reason}
