"""Compare a new adapter with the one before it, and put that one back where the new one is worse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maintenance.gate import Bounds, gate
from maintenance.models import MaintenanceStep
from maintenance.night import Night, StepOutcome
from maintenance.trained_runs import TrainedRun, uncompared_runs
from training.artifacts import MANIFEST, activate, active_adapter, deactivate
from training.config import TrainingConfig
from training.evaluation.evaluation_set import load_evaluation_set
from training.lock import folder_lock
from training.preparation import Places
from training.selection import preference_pool, sft_pool

_JUDGED = ("recall", "sft_loss", "preference_accuracy")
_NOTHING = "no new adapter of a night to compare"


def evaluate(night: Night) -> StepOutcome:
    """Compare every run of a night that was not compared yet, one that a killed night left included.

    The adapter before it is the one that was active when its training began. Where the run continued that one, its own
    measurement before training is that adapter's; else both are measured side by side. Where there was none, the base
    model takes its place, and memory must not have become worse at all. An adapter that fails leaves the link `active`
    to the one before it; its run and its folder stay, and its pairs stay used.

    Raises:
        LockedError: another process trains in the folder, so that the link has to stay as it is; the next night
            compares again.
        OSError: the link cannot be changed.

    """
    waiting = uncompared_runs(using=night.using)
    if night.dry_run:
        trained = MaintenanceStep.objects.using(night.using).filter(run=night.run, name="train").first()
        count = len(waiting) + (trained.counts.get("runs", 0) if trained is not None else 0)
        return StepOutcome({"evaluated": count}, skipped="" if count else _NOTHING)
    if not waiting:
        return StepOutcome({"evaluated": 0}, skipped=_NOTHING)
    found: list[dict[str, Any]] = []
    for number, trained_run in enumerate(waiting):
        night.progress(f"run {trained_run.run.pk}", number / len(waiting))
        found.append(_compared(night, trained_run, earlier=found))
    passed = sum(each["passed"] for each in found)
    return StepOutcome(
        # How many pass is known to no dry run.
        {"evaluated": len(found)},
        {
            "passed": passed,
            "failed": len(found) - passed,
            "runs": found,
            "marks": {"runs": [each["run"] for each in found]},
        },
    )


def _compared(night: Night, trained: TrainedRun, *, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare one run, act on it, and return what the report tells; `earlier` are the runs compared just now."""
    run, limits = trained.run, night.config.evaluate
    previous = _last_good(trained.previous, earlier)
    bounds = Bounds(
        drift=limits.max_drift,
        recall_loss=limits.max_recall_loss if previous is not None else 0.0,
        sft_loss_rise=limits.max_sft_loss_rise if previous is not None else 0.0,
        preference_loss=limits.max_preference_loss,
    )
    error, figures = "", _Figures(None, {}, {})
    try:
        figures = _figures(night, trained, previous)
    except (ValueError, OSError, RuntimeError) as problem:
        # A model or a file is not there, or does not fit. What cannot be compared has not passed.
        error = " ".join(str(problem).split())
    has_probes = run.config.get("evaluation", {}).get("probes_path") is not None
    checks = gate(drift=figures.drift, new=figures.new, old=figures.old, has_probes=has_probes, bounds=bounds)
    passed = all(check.passed for check in checks)
    put_back, note = False, ""
    if not passed:
        put_back, note = (False, "it stays active (evaluate.keep_worse)")
        if not limits.keep_worse:
            put_back, note = _put_back(Path(run.adapter), previous)
        reasons = "; ".join([*filter(None, [error]), *(check.line for check in checks if not check.passed)])
        night.say(f"run {run.pk} did not pass the comparison: {reasons}; {note}")
    return {
        "run": run.pk,
        "adapter": run.adapter,
        "previous_adapter": None if previous is None else str(previous),
        "figures": asdict(figures),
        "checks": [asdict(check) for check in checks],
        "error": error,
        "passed": passed,
        "put_back": put_back,
        "note": note,
    }


@dataclass(frozen=True, slots=True)
class _Figures:
    """What the gate judges: the drift, and how good the new adapter and the one before are in either channel."""

    drift: float | None
    new: dict[str, float | None]
    old: dict[str, float | None]


def _figures(night: Night, trained: TrainedRun, previous: Path | None) -> _Figures:
    """Return the figures of the new adapter and of what was there before, measured on the same things."""
    run = trained.run
    folder = Path(run.adapter)
    own = run.evaluation
    started_from = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("init_adapter")
    if previous is None or started_from == str(previous):
        return _Figures(own.get("drift_ratio"), _of_run(own, "after"), _of_run(own, "before"))
    return _side_by_side(night, trained, previous)


def _side_by_side(night: Night, trained: TrainedRun, previous: Path) -> _Figures:
    """Measure both adapters on what is held out now."""
    # Torch and its friends take seconds to import; a night that continues last night's adapter does without.
    from training.evaluation.adapters import evaluate_adapters

    run = trained.run
    config = TrainingConfig.model_validate(run.config)
    given = load_evaluation_set(
        config, base_dir=night.project, sft=sft_pool(config).held_out, preference=preference_pool(config).held_out
    )
    places = Places(project=night.project, artifacts=night.artifacts)
    _, new, old = evaluate_adapters(config, given, [Path(run.adapter), previous], cache_dir=places.models).figures()
    # The run's own drift is that from where it started, which may be an adapter that has just failed.
    drift = run.evaluation.get("drift_ratio") if previous == trained.previous else _rise(old, new)
    return _Figures(drift, _judged(new), _judged(old))


def _of_run(evaluation: Mapping[str, Any], when: str) -> dict[str, float | None]:
    return {name: evaluation.get(f"{name}_{when}") for name in _JUDGED}


def _judged(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: figures[name] for name in _JUDGED}


def _rise(old: Mapping[str, float | None], new: Mapping[str, float | None]) -> float | None:
    before, after = old["general_loss_median"], new["general_loss_median"]
    return after / before - 1 if before and after is not None else None


def _last_good(previous: Path | None, earlier: list[dict[str, Any]]) -> Path | None:
    """Return `previous`, or what was there before it where it has just failed itself."""
    failed = {each["adapter"]: each["previous_adapter"] for each in earlier if not each["passed"]}
    while previous is not None and str(previous) in failed:
        stored = failed[str(previous)]
        previous = None if stored is None else Path(stored)
    return previous


def _put_back(folder: Path, previous: Path | None) -> tuple[bool, str]:
    """Let `active` point to `previous` again, to nothing where that is None; return whether, and what there is to say.

    A link that does not point to `folder` any more was set by a person or a later run, and stays.
    """
    root = folder.parent
    if not folder.is_dir():
        return False, f"{folder} is gone"
    with folder_lock(root):
        active = active_adapter(root)
        if active != folder.resolve():
            return False, "no adapter is active" if active is None else f"{active} is active, and stays so"
        if previous is not None and previous.is_dir():
            activate(previous, root=root)
            return True, f"{previous} is active again; the pairs of the new one stay used"
        deactivate(root)
        return True, "no adapter is active now; the pairs of the new one stay used"
