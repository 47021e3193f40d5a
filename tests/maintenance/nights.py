"""Nights for tests: the row of a night, and what its steps are given."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.utils import timezone

from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun, MaintenanceStep
from maintenance.night import Night
from tests.memory.embedders import FakeEmbedder


def run(**fields: Any) -> MaintenanceRun:
    """Store a night that has ended."""
    values = {"config_path": "nightly.yaml", "config": {}, "status": MaintenanceRun.Status.SUCCEEDED, **fields}
    return MaintenanceRun.objects.create(**values)


def night(
    step: str,
    *,
    of: MaintenanceRun | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
    artifacts: Path = Path("/nowhere"),
    **config: Any,
) -> Night:
    """Return what a step of a night is given, with the step on record; `config` names sections with their keys."""
    whole = of or run()
    MaintenanceStep.objects.get_or_create(
        run=whole, name=step, defaults={"status": MaintenanceStep.Status.SUCCEEDED, "seconds": 0.1}
    )
    embedder = FakeEmbedder()
    return Night(
        run=whole,
        step=step,
        config=NightlyConfig.model_validate(config),
        now=now or timezone.now(),
        using="default",
        dry_run=dry_run,
        artifacts=artifacts,
        project=Path("/nowhere"),
        say=lambda line: None,
        version=lambda: embedder.version,
        load=lambda: embedder,
    )
