"""Extraction that is killed, or that runs twice at once, in processes of their own on a real database."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg.sql import SQL, Identifier

# One kill in each part: reading the first batch, storing it, storing a later one, pairing the replay buffer.
KILLED_AT = [*(pytest.param(share, marks=pytest.mark.slow) for share in (0.03, 0.2, 0.97)), 0.55]


def start(database_url: str, *steps: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.memory.extraction.child", *steps],
        env={**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )


def run(database_url: str, *steps: str) -> str:
    child = start(database_url, *steps)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    return output


def copied(database_url: str | None, folder: Path) -> str:
    """Return the address of a new database, a copy of `database_url` or empty, where the tests' own one lies."""
    if connection.vendor == "sqlite":
        if database_url is not None:
            shutil.copy(database_url.removeprefix("sqlite:///"), folder)
        return f"sqlite:///{folder / 'memory.sqlite3'}"
    server, _, name = os.environ["DATABASE_URL"].rpartition("/")
    template = "template1" if database_url is None else database_url.rpartition("/")[2]
    copy = f"copy_{uuid4().hex}"
    values = connection.settings_dict
    with psycopg.connect(
        host=values["HOST"], user=values["USER"], password=values["PASSWORD"], dbname=name, autocommit=True
    ) as maintenance:
        maintenance.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(copy), Identifier(template)))
    return f"{server}/{copy}"


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database of conversations from which nothing was extracted yet."""
    database_url = copied(None, tmp_path_factory.mktemp("populated"))
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=environment, check=True)
    run(database_url, "populate")
    return database_url


@pytest.fixture(scope="module")
def undisturbed(populated: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """The number of statements and the rows of a run that nothing disturbs."""
    database = copied(populated, tmp_path_factory.mktemp("undisturbed"))
    statements, rows = run(database, "extract", "statements", "dump").splitlines()
    return int(statements), json.loads(rows)


def test_an_undisturbed_run_stores_rows_of_every_sort(undisturbed: tuple[int, dict[str, Any]]) -> None:
    _, rows = undisturbed

    assert {row[3] for row in rows["preference"]} == {"rating", "regeneration", "edit", "replay"}
    assert {row[4] for row in rows["sft"]} == {"conversation", "introspection"}
    assert {row[0] for row in rows["replay"]} == {"experience", "introspection"}
    assert any(metadata for _, metadata in rows["metadata"])


@pytest.mark.parametrize("share", KILLED_AT)
def test_a_killed_extraction_that_runs_again_ends_with_the_same_rows(
    share: float, populated: str, undisturbed: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    statements, rows = undisturbed
    database = copied(populated, tmp_path)

    killed = start(database, f"extract-killed-at={int(share * statements) + 1}", "dump")
    killed.communicate(timeout=120)

    assert killed.returncode == -signal.SIGKILL
    assert json.loads(run(database, "extract", "dump")) == rows


def test_a_batch_is_stored_whole_or_not_at_all(populated: str, tmp_path: Path) -> None:
    database = copied(populated, tmp_path)

    # The memory pairs of the first batch are written by then.
    start(database, "extract-killed-on=memory_replayentry").communicate(timeout=120)

    assert json.loads(run(database, "dump")) == {"sft": [], "preference": [], "replay": [], "metadata": []}


def test_two_extractions_at_once_store_each_row_once(
    populated: str, undisturbed: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    database = copied(populated, tmp_path)
    signal_file = tmp_path / "go"

    children = [start(database, f"extract-after={signal_file}") for _ in range(2)]
    signal_file.touch()
    for child in children:
        child.communicate(timeout=120)

    assert [child.returncode for child in children] == [0, 0]
    assert json.loads(run(database, "dump")) == undisturbed[1]
