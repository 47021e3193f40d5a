"""A dry run says which pairs would be trained."""

import json
from typing import Any

import numpy as np

from tests.training.records import NOW, preference_record, sft_record
from training.plan_summary import summarise
from training.sampling.plan import PlannedBatch, PlannedStep, PoolSampling, RunPlan

SFT = [
    sft_record(0, question="Who is my sister?", reward=0.6, age_days=0),
    sft_record(1, question="Where do I live?", reward=0.59, age_days=1 / 24, source="import"),
    sft_record(2, question="a" * 100, reward=1.0, age_days=1),
    sft_record(3, reward=0.0, age_days=7),
    sft_record(4, reward=0.3, age_days=30),
]
PREFERENCE = [preference_record(0), preference_record(1)]
STEPS = (
    PlannedStep((PlannedBatch("sft", (0, 1), 0),)),
    PlannedStep((PlannedBatch("preference", (1,), 0),)),
    PlannedStep((PlannedBatch("sft", (0,), 1),)),
    PlannedStep((PlannedBatch("preference", (1,), 1),)),
)
PLAN = RunPlan(
    STEPS,
    PoolSampling(np.array([1.0, 0.5, 0.25, 0.1, 0.1]), np.array([2, 2, 0, 0, 0])),
    PoolSampling(np.array([1.0, 1.0])),
)


def summary(plan: RunPlan = PLAN, **changes: Any) -> dict[str, Any]:
    given = {
        "sft": SFT,
        "preference": PREFERENCE,
        "held_out": {"sft": 7, "preference": 1},
        "now": NOW,
        "memory_estimate_bytes": 1_000_000,
        "expected_seconds": 12.5,
    }
    return summarise(plan, **{**given, **changes})


def row(kind: str, label: str | int, pool: int, pairs_drawn: int, draws: int) -> dict[str, Any]:
    return {kind: label, "pool": pool, "pairs_drawn": pairs_drawn, "draws": draws}


def test_the_course_is_told_in_numbers() -> None:
    told = summary()
    assert (told["steps"], told["memory_estimate_bytes"], told["expected_seconds"]) == (4, 1_000_000, 12.5)
    sft = told["sft"]
    assert (sft["pool"], sft["held_out"], sft["batches"], sft["share_of_steps"]) == (5, 7, 2, 0.5)
    assert (sft["pairs_drawn"], sft["epochs"]) == (2, 2)
    assert sft["sampling_weights"] == {"min": 0.1, "median": 0.25, "max": 1.0}
    assert (sft["newest"], sft["oldest"]) == ("2026-11-01T00:00:00+00:00", "2026-10-02T00:00:00+00:00")


def test_pairs_are_told_by_age_the_newest_first() -> None:
    assert summary()["sft"]["by_age"] == [
        row("age", "hour", 1, 1, 2),
        row("age", "day", 1, 1, 1),
        row("age", "week", 1, 0, 0),
        row("age", "month", 1, 0, 0),
        row("age", "older", 1, 0, 0),
    ]


def test_pairs_are_told_by_reward_the_least_first() -> None:
    assert summary()["sft"]["by_reward"] == [
        row("reward", "0.0 to 0.2", 1, 0, 0),
        row("reward", "0.2 to 0.4", 1, 0, 0),
        row("reward", "0.4 to 0.6", 1, 1, 1),
        row("reward", "0.6 to 0.8", 1, 1, 2),
        row("reward", "0.8 to 1.0", 1, 0, 0),
    ]


def test_pairs_are_told_by_source_the_largest_first() -> None:
    assert summary()["sft"]["by_source"] == [row("source", "conversation", 4, 1, 2), row("source", "import", 1, 1, 1)]


def test_clusters_are_told_by_size_with_the_question_of_their_heaviest_pair() -> None:
    sft = summary()["sft"]
    assert sft["clusters"] == 3
    assert sft["by_cluster"] == [
        {**row("cluster", 0, 3, 0, 0), "example": "a" * 60},
        {**row("cluster", 2, 2, 2, 3), "example": "Who is my sister?"},
    ]
    preference = summary()["preference"]
    assert (preference["clusters"], preference["by_cluster"]) == (None, [])


def test_only_the_ten_largest_clusters_are_told() -> None:
    records = [sft_record(number) for number in range(23)]
    clusters = np.array([*range(12), *range(1, 12)])
    plan = RunPlan(STEPS, PoolSampling(np.ones(23), clusters), PLAN.preference)
    told = summary(plan, sft=records)["sft"]["by_cluster"]
    assert [line["cluster"] for line in told] == list(range(1, 11))


def test_a_channel_without_pairs_is_told_as_empty() -> None:
    plan = RunPlan(STEPS[1::2], PoolSampling(np.empty(0)), PLAN.preference)
    told = summary(
        plan, sft=[], held_out={"sft": 0, "preference": 1}, memory_estimate_bytes=None, expected_seconds=None
    )
    assert (told["sft"]["batches"], told["sft"]["epochs"], told["sft"]["share_of_steps"]) == (0, 0, 0)
    assert told["sft"]["oldest"] is told["sft"]["newest"] is told["sft"]["sampling_weights"] is None
    assert told["preference"]["share_of_steps"] == 1


def test_it_can_be_written_as_json() -> None:
    told = summary()
    assert json.loads(json.dumps(told)) == told
