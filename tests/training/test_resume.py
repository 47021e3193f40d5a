"""A run that is killed at any moment goes on to the end that it would have had."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.crashes import SAVE_STEPS, STEPS

SIGKILL = 9
# `step N` dies when step N is in the ledger and not yet in a checkpoint, `ledger N` in the transaction of a step.
MOMENTS = [
    "step 2",
    f"step {SAVE_STEPS}",
    f"saving {SAVE_STEPS}",
    f"saved {SAVE_STEPS}",
    "ledger 6",
    f"step {SAVE_STEPS + 2}",
    f"saving {2 * SAVE_STEPS}",
    f"step {STEPS}",
    f"saved {STEPS}",
    "success",
]
EVERY_MOMENT = [*MOMENTS, *(f"step {step}" for step in range(1, STEPS + 1) if f"step {step}" not in MOMENTS)]

# What is compared as numbers are, not letter for letter; `died_of` is not compared.
CLOSE = {"steps", "losses", "died_of"}

POPULATE = (
    "import django; django.setup()\n"
    "from tests.training.rows import preference_pairs, sft_pairs\n"
    "sft_pairs(10); preference_pairs(8)"
)


def stories(model_path: str, folder: Path, moments: list[str]) -> dict[str, Any]:
    template = folder / "template.sqlite3"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{template}", "DJANGO_SETTINGS_MODULE": "tests.settings"}

    def python(*arguments: object) -> str:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    python("-m", "django", "migrate", "-v0")
    python("-c", POPULATE)
    told: dict[str, Any] = json.loads(python("-m", "tests.training.crashes", model_path, template, folder, *moments))
    return told


def differences(killed: dict[str, Any], undisturbed: dict[str, Any]) -> str:
    """Return in what the end of a killed run differs from that of an undisturbed one."""
    found = [name for name in undisturbed if name not in CLOSE and killed[name] != undisturbed[name]]
    for line, expected in zip(killed["steps"], undisturbed["steps"], strict=True):
        if line != pytest.approx(expected, abs=1e-5):
            found.append(f"step {expected['step']}")
    if killed["losses"] != pytest.approx(undisturbed["losses"], abs=1e-5):
        found.append("losses")
    return ", ".join(found)


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(tiny_model_path: str, tmp_path: Path) -> None:
    told = stories(tiny_model_path, tmp_path, ["never", *EVERY_MOMENT])
    undisturbed = told.pop("never")
    assert (undisturbed["status"], undisturbed["left"], undisturbed["is_active"]) == ("succeeded", [".lock"], True)
    assert [line["step"] for line in undisturbed["steps"]] == list(range(1, STEPS + 1))
    assert {use[2] for use in undisturbed["uses"]} == set(range(1, STEPS + 1))
    assert all(loss is not None for loss in undisturbed["losses"].values())
    assert {moment: story["died_of"] for moment, story in told.items()} == dict.fromkeys(EVERY_MOMENT, SIGKILL)
    assert {moment: differences(story, undisturbed) for moment, story in told.items()} == dict.fromkeys(
        EVERY_MOMENT, ""
    )
