"""`manage.py` says in one line what a newcomer has not done yet."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def test_an_interpreter_without_django_is_one_line_with_its_remedy() -> None:
    # Without site-packages.
    done = subprocess.run([sys.executable, "-I", "-S", "manage.py"], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"Django is not installed for {sys.executable}; run `make setup`, then use .venv/bin/python\n",
    )


def test_a_database_without_tables_is_one_line_with_its_remedy(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'new.sqlite3'}",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "pair_stats"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the database lacks a table (no such table: memory_")
    assert done.stderr.endswith("; run `manage.py migrate`\n")
    assert done.stderr.count("\n") == 1
