"""Jobs with a real worker, on a database of their own: done, cancelled, and with a worker that dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from dualchannel_site.desk.jobs.recovery import SILENT_FOR
from tests.dualchannel_site.desk.jobs.conftest import CONFIG
from tests.dualchannel_site.desk.jobs.machine import PATIENCE_SECONDS, Machine, ends, kill_if_alive, machine
from tests.memory.extraction.test_interruption import copied


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database with tables and nothing in them."""
    address = copied(None, tmp_path_factory.mktemp("template"))
    environment = {**os.environ, "DATABASE_URL": address, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True)
    return address


@pytest.fixture
def desk(template: str, tmp_path: Path) -> Iterator[Machine]:
    with machine(copied(template, tmp_path), tmp_path) as found:
        yield found


@pytest.fixture
def endless(desk: Machine, tmp_path: Path) -> Iterator[int]:
    """A job that is at work and never ends by itself: its config reads from a pipe into which nobody writes."""
    os.mkfifo(tmp_path / "pipe.json")
    config = f"{CONFIG}retention: {{path: {tmp_path / 'pipe.json'}}}\n"
    (tmp_path / "configs" / "endless.yaml").write_text(config)
    desk.populate(0, 8)
    key = desk.start("plan", {"config": "endless.yaml", "overrides": []})
    yield key
    if (pid := desk.look(key)["pid"]) is not None:
        kill_if_alive(pid)


# Stands for manage.py: a worker that ends at once, and a web server that ends when a second one was started.
MANAGE = """\
echo "$1" >> "$0.log"
case $1 in
    db_worker) exit 1;;
    runserver) for tenth in $(seq 200); do [ "$(grep -c db_worker "$0.log")" -ge 2 ] && exit 3; sleep 0.1; done;;
esac
"""


def is_at_work(row: dict[str, Any]) -> bool:
    return bool(row["status"] == "running" and row["progress_text"])


def has_ended(row: dict[str, Any]) -> bool:
    return row["status"] not in ("queued", "running")


def test_a_worker_does_what_waits_and_leaves_what_was_cancelled(desk: Machine) -> None:
    desk.populate(3, 0)
    extraction = desk.start("extraction", {"since": None})
    night = desk.start("night", {"steps": ["reemit"], "dry_run": True})
    assert desk.cancel(night) is True

    desk.work_off()

    row = desk.look(extraction)
    assert (row["status"], row["error"], row["result"]["created"]) == ("succeeded", "", 3)
    assert row["progress_text"] == "3 of 3 conversations"
    assert desk.count("memory.SftPair") == 3
    assert desk.look(night)["status"] == "cancelled"
    assert desk.count("maintenance.MaintenanceRun") == 0


@pytest.mark.slow
def test_a_job_is_cancelled_at_its_work_and_the_worker_takes_the_next(desk: Machine, endless: int) -> None:
    worker = desk.worker()
    working = desk.wait(endless, is_at_work)
    desk.populate(2, 0)
    following = desk.start("extraction", {"since": None})

    assert desk.cancel(endless) is True

    row = desk.wait(endless, has_ended)
    assert (row["status"], row["error"]) == ("cancelled", "stopped")
    assert ends(working["pid"])
    assert desk.wait(following, has_ended)["status"] == "succeeded"
    assert worker.poll() is None
    worker.terminate()
    assert worker.wait(timeout=30) == 0


@pytest.mark.slow
def test_serve_starts_its_worker_again_and_ends_with_its_web_server(tmp_path: Path) -> None:
    (tmp_path / "manage").write_text(MANAGE)
    command = ["make", "--assume-old=setup", "serve", f"MANAGE=sh {tmp_path / 'manage'}"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.stderr.startswith("serve: the worker has ended; starting it again\n")
    assert "Error 3" in done.stderr


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_ends_its_job_first(desk: Machine, endless: int) -> None:
    worker = desk.worker()
    working = desk.wait(endless, is_at_work)

    # The terminal's Ctrl-C, and the script that started it.
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=30) == 0
    assert ends(working["pid"])
    row = desk.look(endless)
    assert (row["status"], row["error"]) == ("interrupted", "stopped")


@pytest.mark.slow
def test_a_job_ends_by_itself_when_its_worker_was_killed_and_can_be_started_again(desk: Machine, endless: int) -> None:
    worker = desk.worker()
    working = desk.wait(endless, is_at_work)

    worker.kill()

    row = desk.wait(endless, has_ended)
    assert row["status"] == "interrupted"
    assert "the worker is gone; stopping" in row["messages"]
    assert ends(working["pid"])
    assert desk.start("plan", {"config": "endless.yaml", "overrides": []}) > endless


def kill_with_worker(desk: Machine, job: int) -> None:
    """Kill the job, once it is at work, and its worker, which cannot say so any more."""
    worker = desk.worker()
    working = desk.wait(job, is_at_work)
    worker.send_signal(signal.SIGSTOP)
    os.kill(working["pid"], signal.SIGKILL)
    worker.kill()
    worker.wait()
    assert desk.look(job)["status"] == "running"


@pytest.mark.slow
def test_a_job_that_died_with_its_worker_is_closed_by_the_next_start(desk: Machine, endless: int) -> None:
    kill_with_worker(desk, endless)
    desk.age(endless, 200)
    desk.start("plan", {"config": "endless.yaml", "overrides": []})
    row = desk.look(endless)
    assert (row["status"], row["error"]) == (
        "interrupted",
        "no sign of life for more than 120 seconds: its process is taken for dead",
    )


@pytest.mark.slow
def test_a_job_that_died_with_its_worker_is_closed_by_the_next_worker(desk: Machine, endless: int) -> None:
    kill_with_worker(desk, endless)
    desk.age(endless, SILENT_FOR.total_seconds())

    desk.worker()
    row = desk.wait(endless, has_ended)
    assert row["error"] == "its process is gone, and so is the worker that watched it"


@pytest.mark.slow
def test_a_job_whose_process_is_killed_has_failed_and_the_worker_lives(desk: Machine, endless: int) -> None:
    worker = desk.worker()
    working = desk.wait(endless, is_at_work)

    os.kill(working["pid"], signal.SIGKILL)

    row = desk.wait(endless, has_ended)
    assert row["status"] == "failed"
    assert row["error"].startswith("its process ended by signal SIGKILL without a word")
    assert worker.poll() is None
