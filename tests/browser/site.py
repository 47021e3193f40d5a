"""A whole site for the browser: a database of its own with a morning's work in it, a server, and a worker on demand.

It runs in processes of its own, as a person starts it, so that the tests know no more than a person at the browser.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTED_WITHIN_SECONDS = 60
PASSWORD = "the name of a dog"


@dataclass(frozen=True)
class Site:
    """Where the site is, and what is on it."""

    url: str
    folder: Path
    environment: dict[str, str]
    # Of each named address one that leads somewhere.
    addresses: dict[str, str]

    def at(self, name: str) -> str:
        return f"{self.url}{self.addresses[name]}"

    def run(self, *arguments: str) -> str:
        """Run a management command on the site's database; return what it printed."""
        return _run(["manage.py", *arguments], self.environment)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Let a worker do the site's jobs meanwhile."""
        with _running(["manage.py", "db_worker"], self.environment, self.folder / "worker.log"):
            yield


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Yield a site in `folder` that stops at the end."""
    port = _free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{folder / 'site.sqlite3'}",
        "ARTIFACTS_DIR": str(folder / "artifacts"),
        "TRAINING_CONFIG_DIR": str(folder / "configs"),
        "HF_HUB_OFFLINE": "1",
    }
    _run(["manage.py", "migrate", "--verbosity", "0"], environment)
    _run(["manage.py", "setup_roles"], environment)
    staged = _run(["-m", "tests.browser.stage", str(folder)], environment)
    addresses = json.loads(staged.splitlines()[-1])
    url = f"http://127.0.0.1:{port}"
    server = ["manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}"]
    with _running(server, environment, folder / "server.log") as process:
        _wait_for(url, process, folder / "server.log")
        yield Site(url, folder, environment, addresses)


def _run(arguments: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def _running(arguments: Sequence[str], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/admin/login/"):  # noqa: S310 - the site's own address
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"no answer within {STARTED_WITHIN_SECONDS} seconds: {log.read_text()}")
