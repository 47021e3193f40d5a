"""The demonstration: from a chat export to a model that remembers, in one go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.artifacts import write_json
from training.config import load_config
from training.models import TrainingRun
from training.preparation import Places
from training.run_results import EVALUATION
from training.runner import start

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
    """One question about a fact, with the model's answer before and after, and whether the latter is right."""

    fact: str
    question: str
    before: str
    after: str
    right_after: bool


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demonstration came to."""

    run: TrainingRun
    summary: dict[str, Any]
    summary_path: Path
    answers: tuple[SideBySide, ...]


def run_demo(*, places: Places, started: float, say: Callable[[str], None]) -> Demonstration:
    """Train the demo's run on what is extracted already; leave `demo/summary.json` under the artifacts.

    `started` is the `time.monotonic()` at which the whole demonstration began; `seconds` counts from there.
    """
    run = start(load_config(places.project / CONFIG), config_path=CONFIG, places=places, say=say)
    summary = {
        **{key: run.evaluation[key] for key in _MEASURED},
        "seconds": round(time.monotonic() - started, 1),
        "adapter": run.adapter,
    }
    path = places.artifacts / "demo" / "summary.json"
    write_json(path, summary)
    return Demonstration(run, summary, path, tuple(_answers(Path(run.adapter))))


def _answers(adapter: Path) -> list[SideBySide]:
    evaluation = json.loads((adapter / EVALUATION).read_text(encoding="utf-8"))
    return [
        SideBySide(answer["fact"], answer["question"], answer["before"], answer["after"], answer["right_after"])
        for answer in evaluation["answers"]
    ]
