"""The demonstration: from a chat export to a model that remembers, in one go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.artifacts import write_json
from training.config import load_config
from training.runner import FinishedRun, execute, prepare

if TYPE_CHECKING:
    from training.evaluation.probes import Answer

CONFIG = Path("config/training/lora_demo.yaml")

# What the summary takes over from the run's evaluation.
_MEASURED = (
    "recall_before",
    "recall_after",
    "recall_person_only_before",
    "recall_person_only_after",
    "preference_accuracy_before",
    "preference_accuracy_after",
    "drift_ratio",
    "drift_mean_ratio",
)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One question with the model's answer before and after, and whether each is right."""

    question: str
    before: Answer
    after: Answer


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demonstration came to."""

    finished: FinishedRun
    summary: dict[str, Any]
    summary_path: Path
    answers: tuple[SideBySide, ...]


def run_demo(*, base_dir: Path, artifacts_dir: Path, started: float) -> Demonstration:
    """Train the demo's run on what is extracted already; leave `demo/summary.json` under the artifacts.

    `started` is the `time.monotonic()` at which the whole demonstration began; `seconds` counts from there.
    """
    config_path = base_dir / CONFIG
    finished = execute(
        prepare(load_config(config_path), config_path=CONFIG), base_dir=base_dir, artifacts_dir=artifacts_dir
    )
    evaluation = finished.outcome.evaluation
    summary = {
        **{key: evaluation[key] for key in _MEASURED},
        "seconds": round(time.monotonic() - started, 1),
        "adapter": str(finished.adapter),
    }
    path = artifacts_dir / "demo" / "summary.json"
    write_json(path, summary)
    pairs = zip(finished.outcome.before.answers, finished.outcome.after.answers, strict=True)
    answers = tuple(SideBySide(after.probe.question, before, after) for before, after in pairs)
    return Demonstration(finished, summary, path, answers)
