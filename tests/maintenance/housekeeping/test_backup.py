"""A backup counts once it is verified; until then the older ones are all there is."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from pytest_django import DjangoDbBlocker

from maintenance.housekeeping import backup as module
from maintenance.housekeeping.backup import BackupError, back_up, copy_sqlite, missing_program, old_backups
from memory.databases import database_file
from memory.models import SftPair
from tests.training.rows import sft_pairs

NOW = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)
ON_POSTGRES = connection.vendor == "postgresql"
SUFFIX = "dump" if ON_POSTGRES else "sqlite3"
sqlite_only = pytest.mark.skipif(ON_POSTGRES, reason="of SQLite's files")
postgres_only = pytest.mark.skipif(not ON_POSTGRES, reason="of PostgreSQL's programs")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def stored(transactional_db: None) -> None:
    """Rows that every session sees."""
    sft_pairs(3)


@pytest.mark.usefixtures("stored")
def test_a_backup_is_named_by_its_time_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = back_up(tmp_path / "maintenance" / "backups", now=NOW, using="default")
    assert names(path.parent) == [f"20260301T040506Z.{SUFFIX}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("stored")
def test_a_backup_is_for_the_owner_alone_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_run" if ON_POSTGRES else "_copy"
    take = getattr(module, name)
    modes: list[int] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())
        return take(*arguments, **options)

    monkeypatch.setattr(module, name, watched)
    path = back_up(tmp_path, now=NOW, using="default")
    assert set(modes) == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_copy_reaches_the_disk_bit_by_bit_so_that_no_writer_waits_for_the_whole_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_size))
    monkeypatch.setattr(module, "_PAGES", 20)
    path = tmp_path / "copy.sqlite3"
    copy_sqlite(path, using="default")
    with closing(sqlite3.connect(path)) as copy:
        (pages,) = copy.execute("PRAGMA page_count").fetchone()
    assert len(flushed) == -(-pages // 20) > 3
    assert flushed[0] < path.stat().st_size


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_backup_of_sqlite_is_a_database_with_every_row(tmp_path: Path) -> None:
    path = back_up(tmp_path, now=NOW, using="default")
    with closing(sqlite3.connect(path)) as copy:
        rows = copy.execute("SELECT id, response FROM memory_sftpair ORDER BY id DESC").fetchall()
    assert rows == list(SftPair.objects.values_list("pk", "response"))


@postgres_only
@pytest.mark.usefixtures("stored")
def test_a_backup_of_postgresql_can_be_read_back(tmp_path: Path) -> None:
    path = back_up(tmp_path, now=NOW, using="default")
    rows = subprocess.run(
        ["pg_restore", "--data-only", "--table=memory_sftpair", "--file=-", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert all(pair.response in rows for pair in SftPair.objects.all())


@pytest.mark.usefixtures("stored")
def test_what_a_killed_night_left_is_cleared_away(tmp_path: Path) -> None:
    for name in (".20260228T040506Z.sqlite3.partial", ".20260228T040506Z.sqlite3.partial-journal"):
        (tmp_path / name).write_bytes(b"half")
    back_up(tmp_path, now=NOW, using="default")
    assert names(tmp_path) == [f"20260301T040506Z.{SUFFIX}"]


@pytest.mark.usefixtures("stored")
def test_a_disk_that_fills_up_leaves_the_older_ones_and_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(tmp_path, now=NOW, using="default")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        back_up(tmp_path, now=NOW + timedelta(days=1), using="default")
    assert names(tmp_path) == [f"20260301T040506Z.{SUFFIX}"]


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_disk_without_room_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 10**3, 10**3))
    with pytest.raises(BackupError, match=r": got 0 MB free, needed are \d+ MB for a backup$"):
        back_up(tmp_path, now=NOW, using="default")
    assert names(tmp_path) == []


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_copy_that_is_damaged_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = module._copy

    def damage(source: sqlite3.Connection, path: Path) -> None:
        copy(source, path)
        with path.open("r+b") as file:
            # How many pages are free, which no count of rows looks at.
            file.seek(36)
            file.write((7).to_bytes(4))

    monkeypatch.setattr(module, "_copy", damage)
    with pytest.raises(BackupError, match=r"^the copy of the database is damaged: "):
        back_up(tmp_path, now=NOW, using="default")
    assert names(tmp_path) == []


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_copy_that_lacks_rows_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = module._copy

    def lose(source: sqlite3.Connection, path: Path) -> None:
        copy(source, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as target:
            target.execute("DELETE FROM memory_sftpair WHERE id = (SELECT max(id) FROM memory_sftpair)")

    monkeypatch.setattr(module, "_copy", lose)
    with pytest.raises(BackupError, match=r"^the copy of the database has 2 rows in memory_sftpair, expected 3$"):
        back_up(tmp_path, now=NOW, using="default")
    assert names(tmp_path) == []


@sqlite_only
@pytest.mark.usefixtures("stored")
def test_a_path_with_signs_of_an_address_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "what?is#50%25"
    assert back_up(folder, now=NOW, using="default").is_file()
    assert names(folder) == ["20260301T040506Z.sqlite3"]


@pytest.fixture
def file_alias(migrated: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[str, Path]]:
    """A database in a file, of a few megabytes."""
    path = tmp_path / "rows.sqlite3"
    shutil.copy(migrated, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE filler (number INTEGER, content BLOB)")
        raw.execute(
            "INSERT INTO filler WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "SELECT i, randomblob(3000) FROM n"
        )
    with django_db_blocker.unblock(), database_file(path) as alias:
        yield alias, path


@pytest.mark.slow
@sqlite_only
def test_a_copy_is_of_one_moment_and_ends_however_busy_the_writers_are(
    file_alias: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a transaction of its own, each write by another process would begin it anew."""
    alias, path = file_alias
    monkeypatch.setattr(module, "_PAGES", 20)
    stop = threading.Event()
    written: list[int] = []
    begun: list[int] = []
    copy_pages = module._copy

    def copy_from_now(source: sqlite3.Connection, target: Path) -> None:
        # The moment of the copy lies before this call, however long the thread had to wait for it.
        begun.append(len(written))
        copy_pages(source, target)

    monkeypatch.setattr(module, "_copy", copy_from_now)

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as raw:
            while not stop.is_set() and len(written) < 20_000:
                raw.execute("BEGIN IMMEDIATE")
                raw.execute("INSERT INTO filler VALUES (0, 'one')")
                raw.execute("INSERT INTO filler VALUES (0, 'other')")
                raw.execute("COMMIT")
                written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not written:
            pass
        before = len(written)
        copy_sqlite(tmp_path / "copy.sqlite3", using=alias)
        during = len(written) - before
    finally:
        stop.set()
        writer.join()
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        (halves,) = copy.execute("SELECT count(*) FROM filler WHERE number = 0").fetchone()
    assert during > 0
    assert halves % 2 == 0
    assert halves // 2 <= begun[0] + 1
    assert not connections[alias].connection.in_transaction


@sqlite_only
def test_a_copy_that_is_stopped_is_gone_and_the_database_is_free(
    file_alias: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias, _ = file_alias

    def stop(*arguments: Any) -> None:
        arguments[1].write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_copy", stop)
    with pytest.raises(KeyboardInterrupt):
        back_up(tmp_path / "backups", now=NOW, using=alias)
    assert names(tmp_path / "backups") == []
    assert not connections[alias].connection.in_transaction


@sqlite_only
@pytest.mark.django_db
def test_a_copy_from_inside_a_transaction_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    sft_pairs(1)
    with pytest.raises(BackupError, match=r"^the database cannot be copied from inside a transaction$"):
        copy_sqlite(tmp_path / "copy.sqlite3", using="default")


@postgres_only
@pytest.mark.usefixtures("stored")
def test_a_dump_that_is_cut_off_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = module._run

    def cut(command: list[str], **given: Any) -> str:
        said = run(command, **given)
        if command[0] == "pg_dump":
            (path,) = tmp_path.glob(".*.partial")
            with path.open("r+b") as file:
                # The list of tables, at the beginning, stays whole.
                file.truncate(path.stat().st_size - 200)
        return said

    monkeypatch.setattr(module, "_run", cut)
    with pytest.raises(BackupError, match=r"^pg_restore ended with code 1: "):
        back_up(tmp_path, now=NOW, using="default")
    assert names(tmp_path) == []


@postgres_only
@pytest.mark.usefixtures("stored")
def test_a_dump_that_lacks_a_table_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = module._run

    def leave_out(command: list[str], **given: Any) -> str:
        extra = ["--exclude-table=memory_sftpair"] if command[0] == "pg_dump" else []
        return run([command[0], *extra, *command[1:]], **given)

    monkeypatch.setattr(module, "_run", leave_out)
    with pytest.raises(BackupError, match=r"^the dump of the database lacks 1 tables: memory_sftpair$"):
        back_up(tmp_path, now=NOW, using="default")


@postgres_only
@pytest.mark.usefixtures("stored")
def test_no_command_line_and_no_message_shows_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Any] = []
    run = subprocess.run

    def watch(command: Any, **given: Any) -> Any:
        commands.append(command)
        assert given["env"].get("PGPASSWORD") == ("a-secret" if command[0] == "pg_dump" else None)
        return run(command, **given)

    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setattr(subprocess, "run", watch)
    monkeypatch.setitem(connections["default"].settings_dict, "PASSWORD", "a-secret")
    back_up(tmp_path, now=NOW, using="default")
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", str(tmp_path))
    with pytest.raises(BackupError, match=r"^pg_dump ended with code 1: ") as failure:
        back_up(tmp_path, now=NOW, using="default")
    assert len(commands) == 4
    assert "a-secret" not in f"{commands} {failure.value}"


@pytest.mark.parametrize("missing", ["pg_dump", "pg_restore"])
def test_a_program_that_is_not_installed_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else name)
    assert missing_program(using="default") == (missing if ON_POSTGRES else "")


def test_of_the_older_ones_the_oldest_go(tmp_path: Path) -> None:
    days = [f"202603{day:02}T030000Z.sqlite3" for day in range(1, 6)]
    foreign = ["mine.sqlite3", "20260101T030000Z.sqlite3.bak", ".20260101T030000Z.sqlite3.partial", "notes"]
    for name in [*days, *foreign]:
        (tmp_path / name).touch()
    assert [path.name for path in old_backups(tmp_path, keep=3, newest=days[-1])] == [days[1], days[0]]
    assert [path.name for path in old_backups(tmp_path, keep=1, newest=days[-1])] == days[3::-1]
    assert old_backups(tmp_path, keep=9, newest=days[-1]) == []
    assert old_backups(tmp_path / "none", keep=1, newest="") == []


def test_a_backup_that_was_just_made_stays_though_the_clock_was_set_back(tmp_path: Path) -> None:
    older = [f"20260301T0{hour}0000Z.sqlite3" for hour in (4, 5)]
    for name in [*older, "20260301T033000Z.sqlite3"]:
        (tmp_path / name).touch()
    going = old_backups(tmp_path, keep=2, newest="20260301T033000Z.sqlite3")
    assert [path.name for path in going] == [older[0]]


def test_a_backup_of_a_clock_that_was_ahead_keeps_no_good_one_from_staying(tmp_path: Path) -> None:
    ahead = ["20990101T000000Z.sqlite3", "20990102T000000Z.sqlite3"]
    days = [f"202603{day:02}T030000Z.sqlite3" for day in range(1, 5)]
    for name in [*ahead, *days]:
        (tmp_path / name).touch()
    assert [path.name for path in old_backups(tmp_path, keep=4, newest=days[-1])] == ahead[::-1]
    assert [path.name for path in old_backups(tmp_path, keep=5, newest=days[-1])] == ahead[:1]


def test_a_clock_that_is_far_behind_costs_no_more_than_the_oldest(tmp_path: Path) -> None:
    days = [f"202603{day:02}T030000Z.sqlite3" for day in range(1, 5)]
    for name in [*days, "19700101T000100Z.sqlite3"]:
        (tmp_path / name).touch()
    assert [path.name for path in old_backups(tmp_path, keep=4, newest="19700101T000100Z.sqlite3")] == days[:1]
