"""Copies of the database, each verified before it counts."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from django.apps import apps
from django.db import connections
from django.db.backends.postgresql.client import DatabaseClient

from maintenance.models import MaintenanceRun, RowChange
from memory.models import Conversation, Message, PreferencePair, SftPair
from training.models import PairUse, TrainingRun

# Pages of one step of a copy, 64 MB at SQLite's usual size; between two of them other processes get their turn.
_PAGES = 16_384
# Tables whose rows are counted in the database and in its copy.
_COUNTED = (Conversation, Message, SftPair, PreferencePair, TrainingRun, PairUse, MaintenanceRun, RowChange)
_NAME = re.compile(r"\d{8}T\d{6}Z\.(sqlite3|dump)")
_LONGEST_REASON = 240


class BackupError(RuntimeError):
    """A copy could not be made, or is not what the database was; the older ones are there still."""


def backup_folder(artifacts: Path) -> Path:
    """Return the folder of the backups."""
    return artifacts / "maintenance" / "backups"


def missing_program(*, using: str) -> str:
    """Return the program without which the database `using` cannot be backed up; empty where nothing is missing."""
    if connections[using].vendor == "sqlite":
        return ""
    return next((name for name in ("pg_dump", "pg_restore") if shutil.which(name) is None), "")


def back_up(folder: Path, *, now: datetime, using: str) -> Path:
    """Write a verified copy of the database `using` into `folder`, named by the time `now`; return its path.

    It has that name only once it is whole: it was read back to the end, and has every table (PostgreSQL) or as many
    rows as the database had in the moment of the copy (SQLite). Writers go on meanwhile.

    Raises:
        BackupError: the copy is not what the database was, or PostgreSQL's programs failed.
        OSError, sqlite3.Error: the disk does not take it.

    """
    is_sqlite = connections[using].vendor == "sqlite"
    final = folder / f"{now:%Y%m%dT%H%M%SZ}.{'sqlite3' if is_sqlite else 'dump'}"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.partial*"):
        # Of a night that was killed: one night works at a time.
        left.unlink()
    partial = final.with_name(f".{final.name}.partial")
    try:
        # It holds what people said, and does so before it is whole.
        partial.touch(mode=0o600)
        if is_sqlite:
            if lacking := lacking_space(folder, using=using):
                # It would fill the disk, under people who are writing.
                raise BackupError(f"{lacking} for a backup")
            _check_sqlite(partial, expected=_copied_with_counts(partial, using=using))
        else:
            _dump_postgres(partial, using=using)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(final)
    finally:
        for left in folder.glob(f"{partial.name}*"):
            left.unlink()
    return final


def old_backups(folder: Path, *, keep: int, newest: str) -> list[Path]:
    """Return the backups beside the one named `newest` that go where `keep` of them, itself included, stay.

    What else lies in the folder is not meant, nor is `newest`, whatever the clock said when the others were made. Those
    of a later time than `newest` go first: a clock that was ahead once would keep them for ever, in the place of good
    ones.
    """
    if not folder.is_dir():
        return []
    others = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.name != newest]
    by_worth = sorted(others, key=lambda path: (path.name < newest, path.name), reverse=True)
    return by_worth[max(keep - 1, 0) :]


def lacking_space(folder: Path, *, using: str) -> str:
    """Return how much room `folder` has and a copy of the SQLite database `using` needs; empty where it fits."""
    with connections[using].cursor() as cursor:
        pages, size = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    needed, free = pages * size, shutil.disk_usage(folder).free
    return f"{folder}: got {free / 1e6:,.0f} MB free, needed are {needed / 1e6:,.0f} MB" if needed > free else ""


def copy_sqlite(path: Path, *, using: str) -> None:
    """Write a consistent copy of the SQLite database `using` to `path`; writers go on meanwhile.

    Raises:
        BackupError: a transaction of this process is open.
        OSError, sqlite3.Error: the disk does not take it; then `path` is not there.

    """
    with _reading(using) as source:
        _copy(source, path)


def _copied_with_counts(path: Path, *, using: str) -> dict[str, int]:
    """Copy the database to `path`; return how many rows the tables had in that moment."""
    with _reading(using) as source:
        counts = _row_counts(source)
        _copy(source, path)
    return counts


@contextmanager
def _reading(using: str) -> Iterator[sqlite3.Connection]:
    """Yield the SQLite connection in a transaction that sees one state of the database to its end.

    Without it a copy begins anew whenever another process has written, and may never end.
    """
    connection = connections[using]
    connection.ensure_connection()
    source: sqlite3.Connection = connection.connection
    if source.in_transaction:
        # SQLite would wait for its own end.
        raise BackupError("the database cannot be copied from inside a transaction")
    source.execute("BEGIN DEFERRED")
    try:
        source.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield source
    finally:
        source.rollback()


def _copy(source: sqlite3.Connection, path: Path) -> None:
    try:
        with path.open("ab") as written, closing(sqlite3.connect(path)) as target:
            # Left to the end, the whole of it reaches the disk at once, and whoever commits meanwhile waits for that.
            source.backup(target, pages=_PAGES, sleep=0, progress=lambda *_: os.fsync(written.fileno()))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _check_sqlite(path: Path, *, expected: Mapping[str, int]) -> None:
    # Immutable: nothing is written beside it, and nobody else has it yet.
    with closing(sqlite3.connect(f"file:{_quoted(path)}?immutable=1", uri=True)) as copy:
        (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise BackupError(f"the copy of the database is damaged: {verdict}")
        found = _row_counts(copy)
    if different := [name for name in expected if found.get(name) != expected[name]]:
        name = different[0]
        raise BackupError(f"the copy of the database has {found.get(name)} rows in {name}, expected {expected[name]}")


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    tables = [model._meta.db_table for model in _COUNTED]
    # The names come from the models' own metadata.
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}  # noqa: S608


def _dump_postgres(path: Path, *, using: str) -> None:
    """Write PostgreSQL's own dump to `path`, and read it back to its end."""
    # The password travels in the environment, which no process list shows.
    (_, *where), secrets = DatabaseClient.settings_to_cmd_args_env(connections[using].settings_dict, [])
    _run(["pg_dump", "--format=custom", "--no-password", f"--file={path}", *where], secrets=secrets or {})
    listed = _run(["pg_restore", "--list", str(path)]).splitlines()
    held = {line.split(" TABLE DATA ")[1].split()[1] for line in listed if " TABLE DATA " in line}
    tables = {model._meta.db_table for model in apps.get_models() if model._meta.managed and not model._meta.proxy}
    if missing := sorted(tables - held):
        raise BackupError(f"the dump of the database lacks {len(missing)} tables: {', '.join(missing[:3])}")
    # The list stands at its beginning; a dump that was cut off is noticed by reading the rows.
    _run(["pg_restore", f"--file={os.devnull}", str(path)])


def _run(command: Sequence[str], *, secrets: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL, with the arguments from above
        command, env={**os.environ, **(secrets or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())[:_LONGEST_REASON]
        raise BackupError(f"{command[0]} ended with code {done.returncode}: {reason}")
    return done.stdout
