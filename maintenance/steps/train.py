"""Train an adapter on what is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maintenance.config import TrainConfig
from maintenance.night import Night, StepOutcome
from maintenance.trained_runs import note_training, previous_adapter
from training.artifacts import active_adapter, adapter_root
from training.config import TrainingConfig, load_config
from training.models import TrainingRun
from training.pool_sizes import PoolSizes, check_sizes, pool_sizes
from training.preparation import Places
from training.run_state import WORK_FOLDER, read_claim
from training.runner import resume, start
from training.selection import NotEnoughPairs
from training.trainer.stopping import Interrupted
from training.unfinished import WithdrawnError, stopped_run

if TYPE_CHECKING:
    from training.trainer.course import StepResult


def train(night: Night) -> StepOutcome:
    """Train by the training config, where the night's config says so and enough pairs that no run has used exist.

    A run of the same folder that was stopped or killed goes on from its last checkpoint, however few pairs it has left
    unused; where pairs that it has still to train were withdrawn, a new one begins in its place. Pairs count as the
    training config's filters select them, without those that are held out.

    Raises:
        ConfigError, ValueError: the training config, or a file that it names, cannot be used.
        LockedError: another process trains in the folder.
        RuntimeError, OSError, SafetensorError: training failed; see `training.runner.start`.
        KeyboardInterrupt: a person stopped it; the next night goes on from there.

    """
    settings = night.config.train
    if not settings.enabled:
        return StepOutcome(skipped="training is off in the config (train.enabled)")
    path = night.project / settings.config
    config = load_config(path)
    root = adapter_root(config, artifacts_dir=night.artifacts)
    unused = pool_sizes(config, using=night.using, unused_only=True)
    found = {"sft_unused": unused.sft.trained, "preference_unused": unused.preference.trained}
    stopped = stopped_run(root, using=night.using)
    if stopped is None and (reason := _too_few(settings, config, unused, using=night.using)):
        return StepOutcome({"runs": 0, **found}, skipped=reason)
    counts = {"runs": 1, **found}
    if night.dry_run:
        return StepOutcome(counts, {"config": str(path), "root": str(root)})
    if warning := _unmeasured(night, config):
        warning = f"{path}: {warning}"
        night.say(warning)
    try:
        details = _trained(night, config, path, root=root, stopped=stopped)
        return StepOutcome(counts, {**details, "notes": [*filter(None, [warning])]})
    except NotEnoughPairs as few:
        return StepOutcome({"runs": 0, **found}, skipped=str(few))
    except Interrupted as stop:
        # A signal that arrives while it trains means the night, too.
        raise KeyboardInterrupt(f"{stop}; the next night goes on from there") from stop


def _trained(
    night: Night, config: TrainingConfig, path: Path, *, root: Path, stopped: TrainingRun | None
) -> dict[str, Any]:
    """Train, and return the step's details, which the step has from the first optimiser step on."""
    active = active_adapter(root)
    if stopped is not None and active is not None and active.name == stopped.folder_name:
        # It had trained to its end, and died in the moment before its row said so.
        active = previous_adapter(stopped.pk, using=night.using)
    details: dict[str, Any] = {
        "config": str(path),
        "root": str(root),
        "previous_adapter": None if active is None else str(active),
    }

    def step_ended(result: StepResult) -> None:
        if "run" not in details and (claim := read_claim(root / WORK_FOLDER)) is not None:
            details["run"] = claim.run
            note_training(night, details)

    if stopped is not None:
        details["run"] = stopped.pk
        note_training(night, details)
    places = Places(project=night.project, artifacts=night.artifacts)

    def trained(go: Callable[..., TrainingRun]) -> TrainingRun:
        return go(config, config_path=path, places=places, say=night.say, on_step=step_ended)

    try:
        run = trained(start if stopped is None else resume)
    except WithdrawnError as withdrawn:
        # It would be refused every night; a new run gives it up.
        night.say(str(withdrawn))
        stopped = None
        del details["run"]
        note_training(night, details)
        run = trained(start)
    figures = {name: value for name, value in run.evaluation.items() if name != "did_not_stick"}
    return {
        **details,
        "run": run.pk,
        "resumed": stopped is not None,
        "adapter": run.adapter,
        "steps": run.steps,
        "sft": run.metrics["sft"],
        "preference": run.metrics["preference"],
        "evaluation": figures,
        "tokens_per_second": run.metrics["tokens_per_second"],
        "training_seconds": run.metrics["seconds"],
    }


def _too_few(settings: TrainConfig, config: TrainingConfig, unused: PoolSizes, *, using: str) -> str:
    """Return why there is too little to train; empty where there is enough."""
    for channel, size, minimum, key in (
        ("memory", unused.sft.trained, settings.min_unused_sft_pairs, "min_unused_sft_pairs"),
        ("preference", unused.preference.trained, settings.min_unused_preference_pairs, "min_unused_preference_pairs"),
    ):
        if size < minimum:
            return f"{size} unused {channel} pairs to train, needed are {minimum} (train.{key})"
    try:
        check_sizes(config, pool_sizes(config, using=using))
    except NotEnoughPairs as few:
        return str(few)
    return ""


def _unmeasured(night: Night, config: TrainingConfig) -> str:
    """Return a warning where the config leaves out what the comparison after training cannot do without."""
    settings = config.evaluation
    missing = [
        f"{key} is {value}"
        for key, value, is_missing in (
            ("evaluation.general_text_path", "null", settings.general_text_path is None),
            ("evaluation.validation_share", "0", settings.validation_share == 0),
        )
        if is_missing
    ]
    if not missing or night.config.evaluate.keep_worse:
        return ""
    return f"{', '.join(missing)}: what is not measured fails its check, so that evaluate will put the adapter back"
