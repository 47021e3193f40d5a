"""The bridge between the database and the trainer: rows in, ledger, run row, adapter out."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from training.artifacts import adapter_root, write_json, write_run_folder
from training.config import TrainingConfig
from training.datasets import Chat, PreferenceRecord, Record, SftRecord
from training.ledger import record_use, release
from training.models import TrainingRun
from training.sampling.plan import Channel, RunPlan, plan_run
from training.selection import Pool, select_preference, select_sft

if TYPE_CHECKING:
    from training.trainer.dual import StepResult
    from training.trainer.run import TrainingData, TrainingOutcome


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that could start: its config, its pools, its course."""

    config: TrainingConfig
    config_path: Path
    sft: Pool[SftRecord]
    preference: Pool[PreferenceRecord]
    plan: RunPlan

    def records(self, channel: Channel, indices: tuple[int, ...]) -> list[Record]:
        """Return the records at these positions of the channel's pool."""
        pool = self.sft.train if channel == "sft" else self.preference.train
        return [pool[index] for index in indices]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that left an adapter."""

    run: TrainingRun
    outcome: TrainingOutcome
    adapter: Path

    def as_json(self) -> dict[str, Any]:
        """Return the report for scripts."""
        return {
            "run": self.run.pk,
            "status": self.run.status,
            "adapter": str(self.adapter),
            "steps": self.run.steps,
            "sft": asdict(self.outcome.sft),
            "preference": asdict(self.outcome.preference),
            "evaluation": self.outcome.evaluation,
            "tokens_per_second": self.outcome.tokens_per_second,
            "seconds": self.outcome.seconds,
        }


def prepare(config: TrainingConfig, *, config_path: Path, now: datetime | None = None) -> PreparedRun:
    """Select the pairs and plan the run, without loading a model.

    Raises:
        NotEnoughPairs: a channel has fewer pairs than the config asks for.

    """
    sft, preference = select_sft(config), select_preference(config)
    plan = plan_run(config, sft=sft.train, preference=preference.train, now=now or timezone.now())
    return PreparedRun(config, config_path, sft, preference, plan)


def execute(prepared: PreparedRun, *, base_dir: Path, artifacts_dir: Path) -> FinishedRun:
    """Train, mark the pairs as they are used, keep the adapter; the run's row tells how it went.

    A run that fails or is interrupted leaves no adapter, and its pairs are free again.

    Raises:
        OutsideRootError: the config's folder leads out of the artifacts folder.
        ValueError: a file that the config names is missing or malformed.
        BaseModelError, DivergedError: see `training.trainer.run.train`.

    """
    # Torch and its friends take seconds to import; a dry run does without.
    from training.trainer.run import train

    config = prepared.config
    root = adapter_root(config, artifacts_dir=artifacts_dir)
    data = _training_data(prepared, base_dir=base_dir)
    run = TrainingRun.objects.create(
        config_path=str(prepared.config_path), config=config.model_dump(mode="json"), status=TrainingRun.Status.RUNNING
    )

    def on_step(result: StepResult) -> None:
        _record_step(run, prepared, result)

    try:
        with tempfile.TemporaryDirectory(prefix="dual-channel-") as work_dir:
            outcome = train(
                config,
                data,
                prepared.plan,
                work_dir=Path(work_dir),
                cache_dir=artifacts_dir / "models",
                on_step=on_step,
            )
        adapter = write_run_folder(
            root,
            # The time keeps a new database's first run from meeting the folder of an old one's.
            f"run-{run.started_at:%Y%m%dT%H%M%SZ}-{run.pk}",
            config=config,
            manifest=_manifest(run, prepared),
            write_files=lambda folder: _write_files(folder, outcome),
        )
    except KeyboardInterrupt as stop:
        run.interrupt(stop)
        release(run)
        raise
    except BaseException as error:
        run.fail(error)
        release(run)
        raise
    run.succeed(
        steps=len(outcome.steps),
        metrics=_metrics(outcome),
        evaluation=outcome.evaluation,
        adapter=str(adapter),
    )
    return FinishedRun(run, outcome, adapter)


def _write_files(folder: Path, outcome: TrainingOutcome) -> None:
    outcome.model.save_pretrained(folder, selected_adapters=["default"])
    outcome.tokenizer.save_pretrained(folder)
    answers = [
        {
            "fact": after.probe.fact,
            "question": after.probe.question,
            "before": before.text,
            "after": after.text,
            "right_before": before.is_right,
            "right_after": after.is_right,
        }
        for before, after in zip(outcome.before.answers, outcome.after.answers, strict=True)
    ]
    write_json(folder / "evaluation.json", {**outcome.evaluation, "answers": answers})


def _record_step(run: TrainingRun, prepared: PreparedRun, result: StepResult) -> None:
    planned = result.planned
    record_use(
        run=run,
        records=prepared.records(planned.channel, planned.indices),
        step=result.step,
        epoch=planned.epoch,
        weight=1.0 / len(planned.indices),
    )


def _training_data(prepared: PreparedRun, *, base_dir: Path) -> TrainingData:
    from training.evaluation.probes import load_probes
    from training.evaluation.report import EvaluationSet
    from training.trainer.run import TrainingData

    config = prepared.config
    evaluation, retention = config.evaluation, config.retention
    return TrainingData(
        sft=prepared.sft.train,
        preference=prepared.preference.train,
        evaluation=EvaluationSet(
            probes=load_probes(base_dir / evaluation.probes_path) if evaluation.probes_path else (),
            sft=prepared.sft.held_out,
            preference=prepared.preference.held_out,
            general_text=_chats(base_dir, evaluation.general_text_path, "drift"),
            max_new_tokens=evaluation.max_new_tokens,
        ),
        retention=_chats(base_dir, retention.path, "retention"),
    )


def _chats(base_dir: Path, path: str | None, name: str) -> tuple[tuple[Chat, Chat], ...]:
    if path is None:
        return ()
    try:
        content = json.loads((base_dir / path).read_text(encoding="utf-8"))
        return tuple((chat["prompt"], chat["completion"]) for chat in content[name])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no list {name!r} of prompt and completion can be read from it: {error}") from error


def _manifest(run: TrainingRun, prepared: PreparedRun) -> dict[str, Any]:
    used = {
        channel: sorted(
            {
                record.id
                for step in prepared.plan.steps
                if step.channel == channel
                for record in prepared.records(step.channel, step.indices)
            }
        )
        for channel in ("sft", "preference")
    }
    return {
        "run": run.pk,
        "base_model": prepared.config.model_name_or_path,
        "seed": prepared.config.seed,
        "created_at": timezone.now().isoformat(),
        "sft_pairs": used["sft"],
        "preference_pairs": used["preference"],
    }


def _metrics(outcome: TrainingOutcome) -> dict[str, Any]:
    return {
        "sft": asdict(outcome.sft),
        "preference": asdict(outcome.preference),
        "tokens_per_second": outcome.tokens_per_second,
        "seconds": outcome.seconds,
        "steps": [
            {
                "step": result.step,
                f"{result.planned.channel}/loss": result.loss,
                "learning_rate": result.learning_rate,
                **({} if result.retention_kl is None else {"retention/kl": result.retention_kl}),
            }
            for result in outcome.steps
        ],
    }
