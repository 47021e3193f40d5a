"""A machine with a database of its own, a web server's process, and workers that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0


class Machine:
    """Gives orders to the web server's process, and looks after the workers."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._web = subprocess.Popen(
            [sys.executable, "-m", "tests.dualchannel_site.desk.jobs.other_process"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._workers: list[subprocess.Popen[bytes]] = []

    def __getattr__(self, order: str) -> Callable[..., Any]:
        return lambda *arguments: self._do(order, *arguments)

    def _do(self, *order: Any) -> Any:
        assert self._web.stdin is not None
        assert self._web.stdout is not None
        self._web.stdin.write(json.dumps(order) + "\n")
        self._web.stdin.flush()
        return json.loads(self._web.stdout.readline())

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [sys.executable, "-m", "django", "db_worker", "--no-reload", "--interval", "0.1", *options]
        worker = subprocess.Popen([*command, "--no-startup-delay"], env=self._environment)
        self._workers.append(worker)
        return worker

    def work_off(self) -> None:
        """Let a worker do what waits."""
        assert self.worker("--batch").wait(timeout=PATIENCE_SECONDS) == 0

    def wait(self, key: int, until: Callable[[dict[str, Any]], bool], *, seconds: float = PATIENCE_SECONDS) -> Any:
        """Return the job's row as soon as it is as it should be."""
        deadline = time.monotonic() + seconds
        while not until(row := self.look(key)):
            assert time.monotonic() < deadline, row
            time.sleep(0.1)
        return row

    def close(self) -> None:
        """End what still runs."""
        self._web.communicate()
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


def is_alive(pid: int) -> bool:
    """Return whether the process is there, other than as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Return whether the process goes, which it may take a moment for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


def kill_if_alive(pid: int) -> None:
    if is_alive(pid):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def machine(database_url: str, folder: Path) -> Iterator[Machine]:
    """Give a machine whose artifacts and configs lie in `folder`."""
    (folder / "configs").mkdir(exist_ok=True)
    found = Machine(
        {
            **os.environ,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "ARTIFACTS_DIR": str(folder / "artifacts"),
            "TRAINING_CONFIG_DIR": str(folder / "configs"),
        }
    )
    try:
        yield found
    finally:
        found.close()
