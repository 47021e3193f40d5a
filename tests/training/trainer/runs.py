"""Training runs of the tiny model, for the trainer's tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.records import NOW, preference_record, sft_record
from training.config import TrainingConfig
from training.datasets import Chat, PreferenceRecord, SftRecord
from training.evaluation.evaluation_set import EvaluationSet
from training.sampling.plan import Channel, PlannedBatch, PlannedStep, PoolSampling, RunPlan, plan_run
from training.trainer.course import StepResult
from training.trainer.run import RunFolders, TrainingData, TrainingOutcome, train

SFT = tuple(sft_record(number) for number in range(12))
PREFERENCE = tuple(preference_record(number) for number in range(12))
GENERAL: tuple[tuple[Chat, Chat], ...] = tuple((record.prompt, record.completion) for record in SFT[:4])


@dataclass(frozen=True)
class Trained:
    """One run with what it left."""

    outcome: TrainingOutcome
    steps: list[StepResult]

    def losses(self, channel: Channel) -> list[float]:
        """Return the channel's losses, in order."""
        return [loss for step in self.steps if (loss := step.loss(channel)) is not None]

    def timeless(self) -> list[dict[str, float]]:
        """Return the metrics of every step, without the one that the clock makes."""
        return [{k: v for k, v in step.metrics.items() if k != "tokens_per_second"} for step in self.steps]

    def metric(self, name: str) -> list[float | None]:
        """Return a metric of every step."""
        return [step.metrics.get(name) for step in self.steps]


def config(model_path: str, **changes: Any) -> TrainingConfig:
    """Return a config of small batches at a constant, high rate."""
    return TrainingConfig.model_validate(
        {
            "model_name_or_path": model_path,
            "sft_batch_size": 4,
            "preference_batch_size": 4,
            "sft_learning_rate": 5e-3,
            "preference_learning_rate": 5e-3,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "max_length": 64,
            "mixed_precision": "no",
            **changes,
        }
    )


def run(
    settings: TrainingConfig,
    tmp_path: Path,
    *,
    plan: RunPlan | None = None,
    sft: tuple[SftRecord, ...] = SFT,
    preference: tuple[PreferenceRecord, ...] = PREFERENCE,
    retention: tuple[tuple[Chat, Chat], ...] = (),
    evaluation: EvaluationSet | None = None,
    adapter: Path | None = None,
    resume: Path | None = None,
    on_step: Callable[[StepResult], None] = lambda _: None,
) -> Trained:
    """Train, and return the steps with the outcome."""
    steps: list[StepResult] = []

    def step_ended(result: StepResult) -> None:
        steps.append(result)
        on_step(result)

    outcome = train(
        settings,
        TrainingData(sft, preference, evaluation or EvaluationSet(), retention),
        plan or planned(settings, sft=sft, preference=preference),
        folders=RunFolders(tmp_path / "work", tmp_path / "models", tmp_path / "references"),
        adapter=adapter,
        resume=resume,
        on_step=step_ended,
    )
    return Trained(outcome, steps)


def planned(
    settings: TrainingConfig,
    *,
    sft: tuple[SftRecord, ...] = SFT,
    preference: tuple[PreferenceRecord, ...] = PREFERENCE,
) -> RunPlan:
    """Return the sampler's own plan, drawn by weight alone."""
    none: Mapping[Channel, None] = {"sft": None, "preference": None}
    return plan_run(settings, sft=sft, preference=preference, embeddings=none, now=NOW)


def in_order(*channels: Channel, steps: int, size: int = 4) -> RunPlan:
    """Return a course of these channels in every step, over their pools of twelve in order."""
    course = tuple(
        PlannedStep(
            tuple(
                PlannedBatch(channel, tuple((size * step + offset) % 12 for offset in range(size)), size * step // 12)
                for channel in channels
            )
        )
        for step in range(steps)
    )
    return RunPlan(course, PoolSampling(np.ones(12)), PoolSampling(np.ones(12)))
