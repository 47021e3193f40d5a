"""A night that is killed at any moment is completed by the next one, loses nothing, and can still be undone.

The moments are drawn by chance; `CRASH_SEED=…` draws those of an earlier run again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.crashes.kills import MODEL, NEVER, NIGHT, TRAIN

# Nights of one step, by the number of kills; of every step there is something to be done.
EVERY_STEP = {
    "extract": 12,
    "embed": 8,
    "merge": 20,
    "retire": 24,
    "reemit": 8,
    "recluster": 12,
    "replay": 8,
    "housekeeping": 12,
}
# What a whole night changes when nothing disturbs it.
CHANGED = {
    *("SftPair", "PreferencePair", "HistoricalSftPair", "PairEmbedding", "ReplayEntry", "Proposal"),
    *("archived", "files", "expired"),
}


def seed() -> str:
    found = os.environ.get("CRASH_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"CRASH_SEED={found}")  # noqa: T201 - shown where a test fails
    return found


def stories(folder: Path, kills: Mapping[str, int], environment: Mapping[str, str] | None = None) -> list[Any]:
    wanted = [f"{step}={count}" for step, count in kills.items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.maintenance.crashes.kills", str(folder / "kills"), seed(), *wanted],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: list[Any] = json.loads(done.stdout)
    return told


def check(told: list[Any], kills: Mapping[str, int]) -> None:
    wrong = [
        {name: story[name] for name in ("step", "fatal", "what", *_WRONG) if story.get(name)}
        for story in told
        if any(story[name] for name in _WRONG)
    ]
    assert wrong == []
    killed = [story for story in told if story["fatal"] != NEVER]
    assert {story["died_of"] for story in killed} == {signal.SIGKILL}
    assert {name: sum(story["step"] == name for story in killed) for name in kills} == kills
    # A night that had nothing to do would pass whatever became of it.
    idle = [story["step"] for story in told if story["fatal"] == NEVER and not story["changed"]]
    assert idle == []


_WRONG = ("problems", "differs", "refused", "not_undone")


@pytest.mark.slow
def test_a_night_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    kills = {NIGHT: 6}
    told = stories(tmp_path, kills)
    check(told, kills)
    assert set(told[0]["changed"]) >= CHANGED


@pytest.mark.slow
def test_every_step_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    assert sum(EVERY_STEP.values()) > 100
    check(stories(tmp_path, EVERY_STEP), EVERY_STEP)


@pytest.mark.slow
def test_training_and_its_comparison_may_be_killed_at_any_moment(tmp_path: Path, tiny_model_path: str) -> None:
    kills = {TRAIN: 8}
    check(stories(tmp_path, kills, {MODEL: tiny_model_path}), kills)


@pytest.mark.slow
def test_every_step_may_be_killed_on_postgresql(tmp_path: Path, server: str) -> None:
    kills = {step: count // 2 for step, count in EVERY_STEP.items()}
    check(stories(tmp_path, kills, {"DATABASE_URL": server}), kills)
