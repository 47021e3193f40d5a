"""A planned run in numbers, for a person or a script to judge before it starts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets import Record
from training.sampling.plan import Channel, PlannedBatch, PoolSampling, RunPlan

LARGEST_CLUSTERS = 10
EXAMPLE_CHARACTERS = 60

# The age in seconds at which a pair leaves each band.
AGE_LIMITS = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_592_000}
AGES = (*AGE_LIMITS, "older")
REWARDS = ("0.0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 1.0")


def summarise(
    plan: RunPlan,
    *,
    sft: Sequence[Record],
    preference: Sequence[Record],
    held_out: dict[Channel, int],
    now: datetime,
    memory_estimate_bytes: int | None,
    expected_seconds: float | None,
) -> dict[str, Any]:
    """Return the plan of a run: steps, and for each channel its pool, its batches, how it is drawn, which pairs.

    `sampling_weights` gives the least, median and largest sampling weight; `epochs` counts the passes begun.
    `by_age`, `by_reward`, `by_source` and `by_cluster` are tables whose rows say how many pairs of a kind there are
    (`pool`), how many of them are drawn (`pairs_drawn`), how often in all (`draws`). The age is that at `now`, in the
    first band that it fits: hour, day, week, month (30 days), older. `by_cluster` has the largest clusters, each with
    the question of its heaviest pair. All of it can be written as JSON. An estimate that could not be made is None.
    """
    batches = [batch for step in plan.steps for batch in step.batches]
    channels: tuple[tuple[Channel, Sequence[Record], PoolSampling], ...] = (
        ("sft", sft, plan.sft),
        ("preference", preference, plan.preference),
    )
    return {
        "steps": len(plan.steps),
        "memory_estimate_bytes": memory_estimate_bytes,
        "expected_seconds": expected_seconds,
        **{
            channel: {
                "held_out": held_out[channel],
                "share_of_steps": sum(batch.channel == channel for batch in batches) / len(plan.steps),
                **_channel(pool, sampling, [batch for batch in batches if batch.channel == channel], now=now),
            }
            for channel, pool, sampling in channels
        },
    }


def _channel(
    pool: Sequence[Record], sampling: PoolSampling, batches: Sequence[PlannedBatch], *, now: datetime
) -> dict[str, Any]:
    draws = np.zeros(len(pool), dtype=np.int64)
    for batch in batches:
        draws[list(batch.indices)] += 1
    times = [record.created_at for record in pool]
    return {
        "pool": len(pool),
        "batches": len(batches),
        "pairs_drawn": int((draws > 0).sum()),
        "epochs": max((batch.epoch for batch in batches), default=-1) + 1,
        "sampling_weights": _spread(sampling.weights) if pool else None,
        "oldest": min(times).isoformat() if pool else None,
        "newest": max(times).isoformat() if pool else None,
        "by_age": _table("age", [_age_band(now, time) for time in times], draws, order=AGES),
        "by_reward": _table("reward", [_reward_band(record.reward) for record in pool], draws, order=REWARDS),
        "by_source": _table("source", [record.source for record in pool], draws),
        "clusters": None if sampling.clusters is None else int(sampling.clusters.max()) + 1,
        "by_cluster": _by_cluster(pool, sampling, draws),
    }


def _spread(weights: npt.NDArray[np.float64]) -> dict[str, float]:
    return {"min": float(weights.min()), "median": float(np.median(weights)), "max": float(weights.max())}


def _by_cluster(pool: Sequence[Record], sampling: PoolSampling, draws: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    if sampling.clusters is None:
        return []
    rows = _table("cluster", sampling.clusters.tolist(), draws)[:LARGEST_CLUSTERS]
    for row in rows:
        members = np.flatnonzero(sampling.clusters == row["cluster"])
        heaviest = pool[members[sampling.weights[members].argmax()]]
        row["example"] = heaviest.prompt[-1]["content"][:EXAMPLE_CHARACTERS]
    return rows


def _age_band(now: datetime, time: datetime) -> str:
    age = (now - time).total_seconds()
    return next((name for name, limit in AGE_LIMITS.items() if age < limit), "older")


def _reward_band(reward: float) -> str:
    # A reward of 1 belongs to the last band, which has no next.
    return REWARDS[min(int(reward * len(REWARDS)), len(REWARDS) - 1)]


def _table(
    kind: str, labels: Sequence[str | int], draws: npt.NDArray[np.int64], *, order: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return a row for each label that occurs: those of `order` in it, or else the most frequent first."""
    rows: dict[str | int, dict[str, Any]] = {}
    for label, times in zip(labels, draws.tolist(), strict=True):
        row = rows.setdefault(label, {kind: label, "pool": 0, "pairs_drawn": 0, "draws": 0})
        row["pool"] += 1
        row["pairs_drawn"] += times > 0
        row["draws"] += times
    if order:
        return [rows[label] for label in order if label in rows]
    return sorted(rows.values(), key=lambda row: (-row["pool"], row[kind]))
