"""Runs of the trainer for tests: rows, and small folders in place of adapters."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from training.artifacts import activate
from training.models import TrainingRun
from training.run_state import WORK_FOLDER

FIRST = datetime(2026, 1, 1, 3, tzinfo=UTC)
GOOD: Mapping[str, float] = {
    "recall_before": 0.8,
    "recall_after": 0.9,
    "sft_loss_before": 2.0,
    "sft_loss_after": 1.5,
    "preference_accuracy_before": 0.7,
    "preference_accuracy_after": 0.8,
    "drift_ratio": 0.01,
}
METRICS: Mapping[str, Any] = {
    "sft": {"loss_first": 2.0, "loss_last": 1.0, "batches": 4, "pairs_used": 16},
    "preference": {"loss_first": 0.7, "loss_last": 0.5, "batches": 6, "pairs_used": 12},
    "tokens_per_second": 100.0,
    "seconds": 12.5,
}


def run(
    root: Path,
    *,
    night: int = 0,
    status: TrainingRun.Status = TrainingRun.Status.SUCCEEDED,
    continued: TrainingRun | None = None,
    folder: bool = True,
    active: bool = False,
    probes: str | None = "probes.json",
    evaluation: Mapping[str, Any] = GOOD,
) -> TrainingRun:
    """Store a run of the `night`-th night that has ended, with a folder for its adapter in `root`."""
    started = FIRST + timedelta(days=night)
    found = TrainingRun.objects.create(
        config_path="run.yaml",
        config={"model_name_or_path": "any", "evaluation": {"probes_path": probes}},
        started_at=started,
        status=status,
        finished_at=None if status == TrainingRun.Status.RUNNING else started + timedelta(hours=1),
        evaluation=dict(evaluation),
        metrics=dict(METRICS),
        steps=10,
    )
    path = root / found.folder_name
    if folder:
        fill(path, continued=None if continued is None else root / continued.folder_name)
    if status == TrainingRun.Status.SUCCEEDED:
        found.adapter = str(path)
        found.save()
    if active:
        activate(path)
    return found


def fill(path: Path, *, continued: Path | None = None, checksum: str = "a" * 64) -> Path:
    """Make a folder that looks like a run's."""
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    manifest = {"init_adapter": None if continued is None else str(continued), "adapter_checksum": checksum}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def working_folder(root: Path, run: TrainingRun, *, adapter: Path | None = None) -> Path:
    """Make the folder in which an unfinished run keeps its state."""
    work = root / WORK_FOLDER
    (work / "checkpoints").mkdir(parents=True)
    (work / "run.json").write_text(json.dumps({"run": run.pk, "name": run.folder_name}))
    (work / "prepared.json").write_text(json.dumps({"adapter": None if adapter is None else str(adapter)}))
    return work


def set_parent(adapter: Path, parent: Path) -> None:
    """Say in the adapter's manifest that it was continued from `parent`."""
    path = adapter / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "init_adapter": str(parent)}))


def age(path: Path, *, moment: datetime) -> None:
    """Let the file have been written at `moment`."""
    os.utime(path, (moment.timestamp(), moment.timestamp()))
