"""Whole runs of the tiny model, from rows to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.config import TrainingConfig
from training.models import TrainingRun
from training.preparation import Places
from training.runner import OnStep, resume, start

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_PATH = Path("run.yaml")
FOLDER = "lora/test"


def config(model_path: str, **changes: Any) -> TrainingConfig:
    """Return a config of ten steps, four of them memory, that any few rows satisfy."""
    return TrainingConfig.model_validate(
        {
            "model_name_or_path": model_path,
            "output_dir": FOLDER,
            "sft_batch_size": 4,
            "preference_batch_size": 2,
            "min_sft_pairs": 4,
            "min_preference_pairs": 4,
            "diversity_k": None,
            "max_steps": 10,
            "max_length": 64,
            "mixed_precision": "no",
            "evaluation": {"validation_share": 0.0},
            **changes,
        }
    )


def started(
    settings: TrainingConfig,
    artifacts: Path,
    *,
    said: list[str] | None = None,
    on_step: OnStep | None = None,
) -> TrainingRun:
    """Train a new run, whose config's paths start at the artifacts too."""
    return _gone(start, settings, artifacts, said=said, on_step=on_step)


def resumed(
    settings: TrainingConfig,
    artifacts: Path,
    *,
    said: list[str] | None = None,
    on_step: OnStep | None = None,
) -> TrainingRun:
    """Continue the run that stopped."""
    return _gone(resume, settings, artifacts, said=said, on_step=on_step)


def _gone(
    go: Callable[..., TrainingRun],
    settings: TrainingConfig,
    artifacts: Path,
    *,
    said: list[str] | None,
    on_step: OnStep | None,
) -> TrainingRun:
    places = Places(project=artifacts, artifacts=artifacts)
    lines = [] if said is None else said
    return go(settings, config_path=CONFIG_PATH, places=places, say=lines.append, on_step=on_step)
