"""A training from its plan to its adapter, by a real worker, stopped and resumed on the way."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dualchannel_site.desk.jobs.conftest import CONFIG
from tests.dualchannel_site.desk.jobs.machine import Machine, machine
from tests.memory.extraction.test_interruption import copied

pytestmark = pytest.mark.slow
OPTIONS = {"config": "tiny.yaml", "overrides": ["max_steps=12", "save_steps=4"]}


@pytest.fixture
def desk(tiny_model_path: str, tmp_path: Path) -> Iterator[Machine]:
    address = copied(None, tmp_path)
    environment = {**os.environ, "DATABASE_URL": address, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(CONFIG.replace("some/model", tiny_model_path))
    with machine(address, tmp_path) as found:
        found.populate(0, 12)
        yield found


def has_ended(row: dict[str, Any]) -> bool:
    return row["status"] not in ("queued", "running")


def test_a_run_is_planned_trained_and_linked(desk: Machine) -> None:
    desk.worker()
    plan = desk.wait(desk.start("plan", OPTIONS), has_ended)
    assert (plan["status"], plan["result"]["steps"]) == ("succeeded", 12)

    key = desk.start("training", {**OPTIONS, "plan": 1})
    seen = desk.wait(key, lambda row: row["progress_text"].startswith("step ") or has_ended(row), seconds=180)
    assert seen["training_run_id"] is not None
    row = desk.wait(key, has_ended, seconds=180)
    assert (row["status"], row["error"]) == ("succeeded", "")
    assert (row["result"]["run"], row["result"]["steps"]) == (row["training_run_id"], 12)
    assert row["progress_text"].startswith("step 12 of 12: ")
    assert Path(row["result"]["adapter"], "manifest.json").is_file()


def test_a_run_that_is_cancelled_goes_on_from_there(desk: Machine) -> None:
    desk.worker()
    longer = {"config": "tiny.yaml", "overrides": ["max_steps=2000", "save_steps=1000"]}
    key = desk.start("training", longer)
    desk.wait(key, lambda row: row["progress_text"].startswith("step ") or has_ended(row), seconds=180)
    desk.cancel(key)
    stopped = desk.wait(key, has_ended, seconds=60)
    assert stopped["status"] == "cancelled"
    assert stopped["error"].startswith("stopped after step ")

    again = desk.start("training", {**longer, "resume": True})
    seen = desk.wait(again, lambda row: row["progress_text"].startswith("step ") or has_ended(row), seconds=180)
    assert seen["training_run_id"] == stopped["training_run_id"]
    step = int(stopped["error"].split()[-1])
    assert int(seen["progress_text"].split()[1].replace(",", "")) > step
    desk.cancel(again)
    assert desk.wait(again, has_ended, seconds=60)["status"] == "cancelled"
