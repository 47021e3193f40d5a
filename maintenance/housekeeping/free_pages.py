"""What deleted rows left free, given back; the planner's statistics, renewed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import OperationalError, connections

# Pages that one transaction gives back: 4 MB, so that no other writer waits for more than a moment.
_PAGES = 1000
# A plain VACUUM locks the whole file for as long as it takes to write it anew.
_VACUUM_BYTES_PER_SECOND = 50e6
_LONGEST_LOCK_SECONDS = 1.0
# From this share on, free pages are worth a person's attention.
_LEAST_FREE_SHARE = 0.25
# Rows of an index that ANALYZE looks at, by SQLite's own recommendation.
_ANALYSED_ROWS = 400
# How long the emptying of the log may keep writers waiting for readers.
_CHECKPOINT_MS = 200
_INCREMENTAL = 2


def give_back(*, seconds: float, using: str, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Give free pages back and renew the statistics; return what came of it, as plain values.

    SQLite: pages go in slices of a moment each where the database has `auto_vacuum` INCREMENTAL, as new ones have. An
    older one is rewritten to have it where that takes less than a second; else `note` says how. PostgreSQL: `VACUUM
    (ANALYZE)` of every table, which blocks no writer.

    Args:
        seconds: most time; 0 gives nothing back.
        using: the database, outside of any transaction.
        clock: returns seconds; only differences count.

    """
    deadline = clock() + seconds
    if connections[using].vendor == "sqlite":
        return _sqlite(deadline, seconds=seconds, using=using, clock=clock)
    return _postgres(deadline, seconds=seconds, using=using, clock=clock)


def _sqlite(deadline: float, *, seconds: float, using: str, clock: Callable[[], float]) -> dict[str, Any]:
    size = _pragma("page_size", using=using)
    before = _pragma("freelist_count", using=using)
    note = ""
    if seconds and _pragma("auto_vacuum", using=using) == _INCREMENTAL:
        while _pragma("freelist_count", using=using) and clock() < deadline:
            with connections[using].cursor() as cursor:
                # Each step of this statement frees a page, and `execute` takes but one.
                cursor.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
    elif seconds:
        note = _vacuum_whole(before, size, seconds=seconds, using=using)
    left = _pragma("freelist_count", using=using)
    _pragma(f"analysis_limit={_ANALYSED_ROWS}", using=using)
    _execute("ANALYZE", using=using)
    is_empty = _empty_log(using=using)
    return {
        "freed_mb": round(max(before - left, 0) * size / 1e6, 3),
        "free_mb": round(left * size / 1e6, 3),
        "log_emptied": is_empty,
        "note": note,
    }


def _vacuum_whole(free: int, size: int, *, seconds: float, using: str) -> str:
    """Rewrite the database where that is quick, so that later nights can go in slices; else return what to do."""
    pages = _pragma("page_count", using=using)
    expected = (pages - free) * size / _VACUUM_BYTES_PER_SECOND
    if expected <= min(seconds, _LONGEST_LOCK_SECONDS):
        _execute("PRAGMA auto_vacuum=INCREMENTAL", using=using)
        _execute("VACUUM", using=using)
        return ""
    if free < _LEAST_FREE_SHARE * pages:
        return ""
    return (
        f"{free * size / 1e6:,.0f} MB could be given back, which would lock the database for about {expected:.0f} s: "
        "while nobody writes, `sqlite3 FILE 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'`; from then on nights do it in "
        "slices"
    )


def _empty_log(*, using: str) -> bool:
    """Write the write-ahead log into the database and cut it to nothing; return whether nobody was in the way."""
    # What this writes, it writes beside everybody else; the second, which locks, then has little left.
    _execute("PRAGMA wal_checkpoint(PASSIVE)", using=using)
    patience = _pragma("busy_timeout", using=using)
    _pragma(f"busy_timeout={_CHECKPOINT_MS}", using=using)
    try:
        return _pragma("wal_checkpoint(TRUNCATE)", using=using) == 0
    finally:
        _pragma(f"busy_timeout={patience}", using=using)


def _postgres(deadline: float, *, seconds: float, using: str, clock: Callable[[], float]) -> dict[str, Any]:
    if not seconds:
        # The server's own autovacuum keeps the statistics.
        return {"tables_vacuumed": 0, "note": ""}
    quote = connections[using].ops.quote_name
    tables = _tables(using)
    done = 0
    for table in tables:
        if (left := deadline - clock()) <= 0:
            break
        try:
            with _limited(left, using=using):
                _execute(f"VACUUM (ANALYZE) {quote(table)}", using=using)
        except OperationalError as error:
            if not _is_timeout(error):
                raise
            break
        done += 1
    return {
        "tables_vacuumed": done,
        "note": "" if done == len(tables) else f"{len(tables) - done} tables wait for the next night",
    }


@contextmanager
def _limited(seconds: float, *, using: str) -> Iterator[None]:
    _execute(f"SET statement_timeout = {max(round(seconds * 1000), 1)}", using=using)
    try:
        yield
    finally:
        _execute("RESET statement_timeout", using=using)


def _is_timeout(error: OperationalError) -> bool:
    # SQLSTATE 57014: query_canceled.
    return getattr(error.__cause__, "sqlstate", None) == "57014"


def _tables(using: str) -> list[str]:
    """Return the project's tables, those with the most dead rows first, so that none waits for ever."""
    ours = [model._meta.db_table for model in apps.get_models()]
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_stat_user_tables WHERE relname = ANY(%s) ORDER BY n_dead_tup DESC, relname", [ours]
        )
        return [row[0] for row in cursor.fetchall()]


def _pragma(words: str, *, using: str) -> int:
    """Run a PRAGMA to its end and return the first number it gives, 0 where it gives none."""
    with connections[using].cursor() as cursor:
        rows = cursor.execute(f"PRAGMA {words}").fetchall()
    return int(rows[0][0]) if rows and rows[0] else 0


def _execute(statement: str, *, using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement)
        if cursor.description:
            cursor.fetchall()
