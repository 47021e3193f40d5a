"""Stages for steps, and databases of their own for processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.maintenance import staging

Stage = Callable[..., None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Give a function that puts acts in the place of steps: `stage(merge=fall)`."""

    def put(**acts: staging.Act) -> None:
        for name, act in acts.items():
            monkeypatch.setitem(sys.modules, f"maintenance.steps.{name}", staging.module(name, act))

    return put


class Place:
    """A database file and an artifacts folder, for processes to work in."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "rows.sqlite3"
        self.artifacts = folder / "artifacts"
        self.environment = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "ARTIFACTS_DIR": str(self.artifacts),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }

    def start(self, *arguments: object, acts: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start `manage.py` with acts for steps."""
        command = [sys.executable, "-m", "tests.maintenance.staged", *acts, "--", *map(str, arguments)]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def call(self, *arguments: object, acts: Sequence[str] = ()) -> tuple[int, str, str]:
        """Run `manage.py` with acts for steps; return the exit code, what it printed and what it said."""
        with self.start(*arguments, acts=acts) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def python(self, code: str) -> str:
        """Run code with the project set up; return what it printed."""
        command = [sys.executable, "-c", f"import django; django.setup()\n{code}"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file with empty tables, to be copied."""
    place = Place(tmp_path_factory.mktemp("migrated"))
    place.python("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    return place.database
