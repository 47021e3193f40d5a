"""Plans and results are shown as they are, whatever people have said."""

from collections.abc import Iterable
from io import StringIO
from typing import Any

from rich.console import Console, RenderableType

from training.run_tables import plan_tables, result_tables

ROW = {"pool": 4, "pairs_drawn": 2, "draws": 3}


def channel(**tables: Any) -> dict[str, Any]:
    return {
        "pool": 4,
        "held_out": 1,
        "batches": 2,
        "pairs_drawn": 2,
        "epochs": 1,
        "oldest": None,
        "newest": None,
        "by_age": [],
        "by_reward": [],
        "by_source": [],
        "by_cluster": [],
        **tables,
    }


def plan(**changes: Any) -> dict[str, Any]:
    memory = channel(by_cluster=[{"cluster": 0, **ROW, "example": "what is [bold]that[/]"}])
    estimates = {"memory_estimate_bytes": 3 * 2**30, "memory_estimate_reason": None, "expected_seconds": 3725.4}
    return {"steps": 5, **estimates, "sft": memory, "preference": channel(), **changes}


def shown(parts: Iterable[RenderableType]) -> str:
    out = StringIO()
    console = Console(file=out, width=120)
    for part in parts:
        console.print(part)
    return out.getvalue()


def test_a_plan_shows_what_was_said_and_what_it_takes() -> None:
    text = shown(plan_tables(plan(preference=channel(pool=12_345))))
    assert "what is [bold]that[/]" in text
    assert "12,345" in text
    assert "memory: about 3.0 GiB" in text
    assert "expected time: 1:02:05" in text


def test_a_plan_says_why_something_is_not_known() -> None:
    unknown = {"memory_estimate_bytes": None, "memory_estimate_reason": "no files of [org]/x", "expected_seconds": None}
    text = shown(plan_tables(plan(**unknown)))
    assert "memory: not known: no files of [org]/x" in text
    assert "expected time: not known before a first run on this machine" in text


def test_a_result_shows_what_was_measured_and_counts_what_did_not_stick() -> None:
    course = {"batches": 2, "pairs_used": 4, "loss_first": 2.0, "loss_last": 1.25}
    left = {"sft": [3, 9], "preference": []}
    report = {
        "run": 7,
        "steps": 5,
        "sft": course,
        "preference": course,
        "tokens_per_second": 199.6,
        "seconds": 61.0,
        "evaluation": {"recall_after": 0.5, "drift_ratio": None, "did_not_stick": left},
        "adapter": "artifacts/lora/[x]/run-7",
    }
    text = shown(result_tables(report))
    assert "recall after: 0.500" in text
    assert "drift" not in text
    assert "did not stick: 2 memory, 0 preference pairs" in text
    assert "200 tokens/s, 0:01:01 in all" in text
    assert "\n0:01:01 in all" in shown(result_tables({**report, "tokens_per_second": None}))
    assert "adapter: artifacts/lora/[x]/run-7" in text
