"""Free pages go back to the disk without anybody waiting for it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from pytest_django import DjangoDbBlocker

from maintenance.housekeeping import free_pages as module
from maintenance.housekeeping.free_pages import give_back
from memory.databases import database_file
from tests.training.rows import sft_pairs

ON_POSTGRES = connection.vendor == "postgresql"
sqlite_only = pytest.mark.skipif(ON_POSTGRES, reason="of SQLite's pages")
postgres_only = pytest.mark.skipif(not ON_POSTGRES, reason="of PostgreSQL's VACUUM")


@contextmanager
def database(path: Path, migrated: Path, *, auto_vacuum: str, megabytes: float) -> Iterator[str]:
    """Yield the alias of a database with so many megabytes of free pages, and as many in use."""
    shutil.copy(migrated, path)
    rows = round(megabytes * 1000)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
        raw.execute(f"PRAGMA auto_vacuum={auto_vacuum}")
        raw.execute("VACUUM")
        raw.execute("CREATE TABLE filler (number INTEGER PRIMARY KEY, content BLOB)")
        raw.execute(
            "INSERT INTO filler WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "SELECT i, zeroblob(2000) FROM n",
            [rows],
        )
        raw.execute("DELETE FROM filler WHERE number > ?", [rows // 2])
        raw.execute("PRAGMA journal_mode=WAL")
    with database_file(path) as alias:
        yield alias


@pytest.fixture
def path(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Path]:
    with django_db_blocker.unblock():
        yield tmp_path / "rows.sqlite3"


def pragma(alias: str, name: str) -> int:
    with connections[alias].cursor() as cursor:
        return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])


@sqlite_only
def test_pages_go_in_slices_and_the_file_shrinks(path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGES", 100)
    with database(path, migrated, auto_vacuum="INCREMENTAL", megabytes=4) as alias:
        before = path.stat().st_size
        free = pragma(alias, "freelist_count")
        assert free > 900
        found = give_back(seconds=60, using=alias)
        assert found == {"freed_mb": round(free * 4096 / 1e6, 3), "free_mb": 0.0, "log_emptied": True, "note": ""}
        assert before - path.stat().st_size >= 0.9 * free * 4096
        assert give_back(seconds=60, using=alias)["freed_mb"] == 0


@sqlite_only
def test_time_that_is_up_leaves_the_rest_for_the_next_night(
    path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGES", 100)
    moments = iter(range(1000))
    with database(path, migrated, auto_vacuum="INCREMENTAL", megabytes=4) as alias:
        free = pragma(alias, "freelist_count")
        found = give_back(seconds=3, using=alias, clock=lambda: float(next(moments)))
        # Two slices began before the third second.
        assert found["freed_mb"] == round(200 * 4096 / 1e6, 3)
        assert found["free_mb"] == round((free - 200) * 4096 / 1e6, 3)
        assert give_back(seconds=0, using=alias)["freed_mb"] == 0


@sqlite_only
def test_a_small_database_of_the_older_kind_is_rewritten_into_the_newer(path: Path, migrated: Path) -> None:
    with database(path, migrated, auto_vacuum="NONE", megabytes=2) as alias:
        found = give_back(seconds=60, using=alias)
        assert (found["free_mb"], found["note"]) == (0.0, "")
        assert found["freed_mb"] > 0.9
        assert pragma(alias, "auto_vacuum") == 2


@sqlite_only
@pytest.mark.parametrize(("megabytes", "told"), [(8, True), (0.2, False)])
def test_a_large_one_is_left_and_a_person_told_where_it_matters(
    path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch, megabytes: float, told: bool
) -> None:
    monkeypatch.setattr(module, "_VACUUM_BYTES_PER_SECOND", 1e5)
    with database(path, migrated, auto_vacuum="NONE", megabytes=megabytes) as alias:
        found = give_back(seconds=60, using=alias)
        assert found["freed_mb"] == 0
        assert pragma(alias, "auto_vacuum") == 0
    if told:
        assert "MB could be given back, which would lock the database for about" in found["note"]
        assert "`sqlite3 FILE 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'`" in found["note"]
    else:
        assert found["note"] == ""


@sqlite_only
def test_the_planner_gets_its_statistics(path: Path, migrated: Path) -> None:
    with database(path, migrated, auto_vacuum="INCREMENTAL", megabytes=0.1) as alias:
        give_back(seconds=0, using=alias)
        with connections[alias].cursor() as cursor:
            assert cursor.execute("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'filler'").fetchone() == (1,)


@sqlite_only
def test_a_reader_in_the_way_keeps_nobody_waiting(path: Path, migrated: Path) -> None:
    with database(path, migrated, auto_vacuum="INCREMENTAL", megabytes=1) as alias:
        patience = pragma(alias, "busy_timeout")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM filler").fetchone()
            began = time.perf_counter()
            found = give_back(seconds=60, using=alias)
            assert time.perf_counter() - began < 5
        assert not found["log_emptied"]
        assert found["freed_mb"] > 0
        assert pragma(alias, "busy_timeout") == patience == 60_000


@sqlite_only
def test_a_writer_never_waits_for_long(path: Path, migrated: Path) -> None:
    stop, waits = threading.Event(), [0.0]

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as raw:
            while not stop.is_set():
                began = time.perf_counter()
                raw.execute("BEGIN IMMEDIATE")
                waits.append(time.perf_counter() - began)
                raw.execute("INSERT INTO filler (content) VALUES ('x')")
                raw.execute("COMMIT")
                time.sleep(0.001)

    with database(path, migrated, auto_vacuum="INCREMENTAL", megabytes=20) as alias:
        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert give_back(seconds=60, using=alias)["freed_mb"] > 9
        finally:
            stop.set()
            writer.join()
    assert max(waits) < 1


@postgres_only
def test_every_table_is_vacuumed_outside_of_a_transaction(transactional_db: None) -> None:
    sft_pairs(3)
    found = give_back(seconds=60, using="default")
    assert found["tables_vacuumed"] > 20
    assert found["note"] == ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'memory_sftpair'")
        assert cursor.fetchone() == (3.0,)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    assert give_back(seconds=0, using="default")["tables_vacuumed"] == 0


@postgres_only
def test_a_table_that_takes_too_long_leaves_the_rest_for_the_next_night(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = module._execute

    def slow(statement: str, *, using: str) -> None:
        execute("SELECT pg_sleep(5)" if "memory_sftpair" in statement else statement, using=using)

    monkeypatch.setattr(module, "_execute", slow)
    monkeypatch.setattr(module, "_tables", lambda using: ["memory_message", "memory_sftpair", "memory_replayentry"])
    found = give_back(seconds=0.5, using="default")
    assert found == {"tables_vacuumed": 1, "note": "2 tables wait for the next night"}
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


@postgres_only
def test_any_other_error_is_one(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(statement: str, *, using: str) -> None:
        if statement.startswith("VACUUM"):
            raise OperationalError("the disk is full")

    monkeypatch.setattr(module, "_execute", fail)
    with pytest.raises(OperationalError, match="the disk is full"):
        give_back(seconds=60, using="default")


@postgres_only
def test_tables_with_the_most_dead_rows_come_first(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(module, "_execute", lambda statement, *, using: done.append(statement))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
        sft_pairs(200)
        cursor.execute("UPDATE memory_sftpair SET confidence = 0.5")
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_sleep(0.2)")
    give_back(seconds=60, using="default")
    vacuums = [statement for statement in done if statement.startswith("VACUUM")]
    assert vacuums[0] == 'VACUUM (ANALYZE) "memory_sftpair"'
