"""What a finished run leaves: its folder, then its row in the database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from memory.bulk import update_rows
from memory.models import SftPair
from training.artifacts import MANIFEST, activate, write_json, write_json_lines, write_run_folder, write_text
from training.environment import environment
from training.estimate import characters_of
from training.evaluation.run_report import ChannelReport, RunReport, render_report
from training.evaluation.sticking import did_not_stick
from training.history import METRICS, History
from training.models import TrainingRun
from training.run_state import CHECKPOINTS, WORK_FOLDER, PreparedRun
from training.sampling.plan import Channel

if TYPE_CHECKING:
    from training.trainer.pair_changes import PairChange
    from training.trainer.run import TrainingOutcome

DATA = "data.jsonl"
EVALUATION = "evaluation.json"
REPORT = "report.md"
# TensorBoard's own name for its logs.
_LOGS = "runs"
_CHANNELS: tuple[Channel, ...] = ("sft", "preference")


def write_results(
    root: Path, run: TrainingRun, prepared: PreparedRun, outcome: TrainingOutcome, history: History, *, project: Path
) -> Path:
    """Write the folder of the run into `root`, return it.

    Raises:
        OSError, SafetensorError: the disk will not take it; then there is no folder.

    """
    # A channel that was passed over has planned pairs that it never used.
    changes = [change for change in outcome.changes if change.index in history.uses(change.channel)]

    def write_files(folder: Path) -> None:
        outcome.model.save_pretrained(folder, selected_adapters=["default"])
        outcome.tokenizer.save_pretrained(folder)
        write_json_lines(folder / METRICS, (line.as_json() for line in history.lines))
        write_json_lines(folder / DATA, _data_manifest(prepared, history, changes))
        write_json(folder / EVALUATION, _evaluation(prepared, outcome, changes))
        report = _report(root / run.folder_name, run, prepared, outcome, history, changes)
        write_text(folder / REPORT, render_report(report))
        if (logs := root / WORK_FOLDER / CHECKPOINTS / _LOGS).is_dir():
            shutil.copytree(logs, folder / _LOGS)

    return write_run_folder(
        root,
        run.folder_name,
        config=prepared.config,
        manifest=_manifest(run, prepared, outcome, history, project=project),
        write_files=write_files,
    )


def record_success(run: TrainingRun, folder: Path) -> None:
    """Close the run's row with what its folder says, in one transaction.

    It takes nothing but the folder, so that a process which died after writing it can be made up for.
    """
    activate(folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    evaluation = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))
    del evaluation["answers"]
    lines = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    pairs = [json.loads(line) for line in (folder / DATA).read_text(encoding="utf-8").splitlines()]
    losses = [
        (pair["id"], pair["after"])
        for pair in pairs
        if pair["channel"] == "sft" and pair["id"] is not None and pair["after"] is not None
    ]
    with transaction.atomic():
        run.succeed(
            steps=len(lines),
            metrics={**manifest["metrics"], "steps": lines},
            evaluation=evaluation,
            adapter=str(folder),
        )
        update_rows(SftPair, ["loss"], losses)


def run_report(run: TrainingRun) -> dict[str, Any]:
    """Return a successful run as the report for scripts."""
    metrics = run.metrics
    return {
        "run": run.pk,
        "status": run.status,
        "adapter": run.adapter,
        "steps": run.steps,
        "sft": metrics["sft"],
        "preference": metrics["preference"],
        "evaluation": run.evaluation,
        "tokens_per_second": metrics["tokens_per_second"],
        "seconds": metrics["seconds"],
    }


def _data_manifest(prepared: PreparedRun, history: History, changes: Sequence[PairChange]) -> Iterator[dict[str, Any]]:
    """Yield a line for each pair that was used: what it was, how often, and what became of it."""
    found = {(change.channel, change.index): change for change in changes}
    for channel in _CHANNELS:
        for index, uses in sorted(history.uses(channel).items()):
            record, change = prepared.records(channel)[index], found.get((channel, index))
            yield {
                "channel": channel,
                "id": record.id,
                "content_hash": record.content_hash,
                "source": record.source,
                "uses": uses,
                "before": None if change is None else change.before,
                "after": None if change is None else change.after,
            }


def _evaluation(prepared: PreparedRun, outcome: TrainingOutcome, changes: Sequence[PairChange]) -> dict[str, Any]:
    left = did_not_stick(changes)
    return {
        **outcome.evaluation,
        "did_not_stick": {
            channel: [
                record.id
                for change in left
                if change.channel == channel and (record := prepared.records(channel)[change.index]).id is not None
            ]
            for channel in _CHANNELS
        },
        "answers": [
            {
                "fact": after.probe.fact,
                "question": after.probe.question,
                "before": before.text,
                "after": after.text,
                "right_before": before.is_right,
                "right_after": after.is_right,
            }
            for before, after in zip(outcome.before.answers, outcome.after.answers, strict=True)
        ],
    }


def _manifest(
    run: TrainingRun, prepared: PreparedRun, outcome: TrainingOutcome, history: History, *, project: Path
) -> dict[str, Any]:
    made_with = environment(project)
    return {
        "run": run.pk,
        "created_at": timezone.now().isoformat(),
        "seed": prepared.config.seed,
        "base_model": prepared.config.model_name_or_path,
        "base_checksum": outcome.base_checksum,
        "init_adapter": None if prepared.adapter is None else str(prepared.adapter),
        "init_checksum": outcome.init_checksum,
        "adapter_checksum": outcome.adapter_checksum,
        "device": outcome.device,
        "precision": outcome.precision,
        "own_rows": outcome.own_rows,
        **made_with,
        "metrics": {
            **{channel: asdict(history.outcome(channel)) for channel in _CHANNELS},
            "tokens_per_second": outcome.tokens_per_second,
            "seconds": outcome.seconds,
            "stopped": dict(outcome.stopped),
            "stopped_early": outcome.stopped_early,
            # How fast this machine is with this model: what the next run's expected time is reckoned from.
            "host": made_with["host"],
            "characters": sum(characters_of(prepared, step.planned, step.trained) for step in outcome.steps),
        },
    }


def _report(
    folder: Path,
    run: TrainingRun,
    prepared: PreparedRun,
    outcome: TrainingOutcome,
    history: History,
    changes: Sequence[PairChange],
) -> RunReport:
    return RunReport(
        run=run.pk,
        config=prepared.config,
        folder=folder,
        steps=len(history.lines),
        planned_steps=len(prepared.plan.steps),
        stopped=outcome.stopped,
        stopped_early=outcome.stopped_early,
        channels={
            channel: ChannelReport(
                **asdict(history.outcome(channel)),
                pool=len(prepared.records(channel)),
                epochs=history.epochs(channel),
            )
            for channel in _CHANNELS
        },
        evaluation=outcome.evaluation,
        answers_before=outcome.before.answers,
        answers_after=outcome.after.answers,
        changes=changes,
        records={channel: prepared.records(channel) for channel in _CHANNELS},
        device=outcome.device,
        precision=outcome.precision,
        own_rows=outcome.own_rows,
        tokens_per_second=outcome.tokens_per_second,
        seconds=outcome.seconds,
    )
