"""What a killed run needs to go on, in a folder of its own: config, pools, plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from training.artifacts import write_json, write_json_lines
from training.config import TrainingConfig
from training.datasets import Chat, PreferenceRecord, Record, SftRecord
from training.sampling.plan import Channel, PlannedBatch, PlannedStep, PoolSampling, RunPlan
from training.selection import Pool

if TYPE_CHECKING:
    from training.models import TrainingRun

WORK_FOLDER = ".work"
CHECKPOINTS = "checkpoints"
# What is being removed goes under a name of its own, so that whatever a kill leaves of it is known to be nothing.
REMOVED = ".removed.partial"
_CLAIM = "run.json"
_PREPARED = "prepared.json"
_POOLS: Mapping[Channel, str] = {"sft": "sft.jsonl", "preference": "preference.jsonl"}

_Record = TypeVar("_Record", SftRecord, PreferenceRecord)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that could start: its config, what it starts from, its pools, its course.

    `adapter` is the folder of the adapter that is continued, None for a fresh one; `retention` the chats whose answers
    the run is held to.
    """

    config: TrainingConfig
    config_path: Path
    adapter: Path | None
    sft: Pool[SftRecord]
    preference: Pool[PreferenceRecord]
    retention: tuple[tuple[Chat, Chat], ...]
    plan: RunPlan

    def records(self, channel: Channel) -> tuple[Record, ...]:
        """Return the pool that the channel's planned batches point into."""
        return self.sft.train if channel == "sft" else self.preference.train


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose state it is: the number of the run, and the name of its folder."""

    run: int
    name: str


def write_state(work: Path, prepared: PreparedRun) -> Path:
    """Write the run's state beside `work`, where it counts for nothing yet; return the folder for `claim_state`."""
    partial = work.with_name(f"{work.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write_json(
        partial / _PREPARED,
        {
            "config": prepared.config.model_dump(mode="json"),
            "config_path": str(prepared.config_path),
            "adapter": None if prepared.adapter is None else str(prepared.adapter),
            "retention": prepared.retention,
            "plan": _plan_as_json(prepared.plan),
        },
    )
    write_json_lines(partial / _POOLS["sft"], _pool_as_json(prepared.sft, SftRecord))
    write_json_lines(partial / _POOLS["preference"], _pool_as_json(prepared.preference, PreferenceRecord))
    return partial


def claim_state(partial: Path, work: Path, run: TrainingRun) -> None:
    """Make the state that `write_state` left the run's own, by one rename to `work`.

    Called in the transaction that stores the run, so that there is neither a run without its state nor the reverse.
    """
    write_json(partial / _CLAIM, asdict(Claim(run.pk, run.folder_name)))
    partial.rename(work)


def read_claim(work: Path) -> Claim | None:
    """Return whose state the folder holds; None where it holds none, or just went."""
    try:
        content = (work / _CLAIM).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Claim(**json.loads(content))


def remove_folder(folder: Path) -> None:
    """Remove a folder, under another name first: nobody ever finds half of it under its own."""
    going = folder
    if not folder.name.endswith(REMOVED):
        going = folder.with_name(f".{folder.name.lstrip('.').removesuffix('.partial')}{REMOVED}")
        shutil.rmtree(going, ignore_errors=True)
        folder.rename(going)
    shutil.rmtree(going)


def read_start(work: Path) -> Path | None:
    """Return the folder of the adapter that the run in `work` continues; None where it starts afresh."""
    adapter = json.loads((work / _PREPARED).read_text(encoding="utf-8"))["adapter"]
    return None if adapter is None else Path(adapter)


def planned_steps(work: Path) -> int:
    """Return how many steps the run in `work` has in all; its pools, which may be large, are not read."""
    return len(json.loads((work / _PREPARED).read_text(encoding="utf-8"))["plan"]["steps"])


def read_state(work: Path) -> PreparedRun:
    """Return the run as it was prepared, whatever has become of its pairs and its config file since."""
    content = json.loads((work / _PREPARED).read_text(encoding="utf-8"))
    adapter = content["adapter"]
    return PreparedRun(
        config=TrainingConfig.model_validate(content["config"]),
        config_path=Path(content["config_path"]),
        adapter=None if adapter is None else Path(adapter),
        sft=_pool_from_json(work / _POOLS["sft"], SftRecord),
        preference=_pool_from_json(work / _POOLS["preference"], PreferenceRecord),
        retention=tuple((prompt, completion) for prompt, completion in content["retention"]),
        plan=_plan_from_json(content["plan"]),
    )


def _pool_as_json(pool: Pool[_Record], kind: type[_Record]) -> Iterator[dict[str, Any]]:
    adapter = TypeAdapter(kind)
    for held_out, records in ((False, pool.train), (True, pool.held_out)):
        for record in records:
            yield {"held_out": held_out, "record": adapter.dump_python(record, mode="json")}


def _pool_from_json(path: Path, kind: type[_Record]) -> Pool[_Record]:
    adapter = TypeAdapter(kind)
    parts: dict[bool, list[_Record]] = {False: [], True: []}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            content = json.loads(line)
            parts[content["held_out"]].append(adapter.validate_python(content["record"]))
    return Pool(tuple(parts[False]), tuple(parts[True]))


def _plan_as_json(plan: RunPlan) -> dict[str, Any]:
    return {
        "steps": [[[batch.channel, batch.indices, batch.epoch] for batch in step.batches] for step in plan.steps],
        "statistics": [dict(values) for values in plan.statistics],
        "sft": _sampling_as_json(plan.sft),
        "preference": _sampling_as_json(plan.preference),
    }


def _plan_from_json(content: Mapping[str, Any]) -> RunPlan:
    return RunPlan(
        steps=tuple(PlannedStep(tuple(_batches(step))) for step in content["steps"]),
        sft=_sampling_from_json(content["sft"]),
        preference=_sampling_from_json(content["preference"]),
        statistics=tuple(content["statistics"]),
    )


def _batches(step: Iterable[tuple[Channel, list[int], int]]) -> Iterator[PlannedBatch]:
    for channel, indices, epoch in step:
        yield PlannedBatch(channel, tuple(indices), epoch)


def _sampling_as_json(sampling: PoolSampling) -> dict[str, Any]:
    clusters = sampling.clusters
    return {"weights": sampling.weights.tolist(), "clusters": None if clusters is None else clusters.tolist()}


def _sampling_from_json(content: Mapping[str, Any]) -> PoolSampling:
    clusters = content["clusters"]
    return PoolSampling(
        np.array(content["weights"], dtype=np.float64),
        None if clusters is None else np.array(clusters, dtype=np.int64),
    )
