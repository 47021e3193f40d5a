"""Runs that were stopped, and can go on."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from dualchannel_site.desk.jobs.configs import chosen_config
from training.artifacts import adapter_root
from training.lock import is_locked
from training.models import TrainingRun
from training.unfinished import stopped_run


def unfinished_run(name: str, overrides: Sequence[str]) -> TrainingRun | None:
    """Return the run of the config `name` that was stopped and can go on; None where there is none, or one trains.

    Raises:
        ConfigError, OutsideRootError: the config cannot be used.

    """
    root = adapter_root(chosen_config(name, overrides), artifacts_dir=settings.ARTIFACTS_DIR)
    return None if is_locked(root) else stopped_run(root)
