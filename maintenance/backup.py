"""Copies of the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from django.db import connections

# Pages of one step of a copy; between two of them other processes get their turn.
_PAGES = 4096


def copy_sqlite(path: Path, *, using: str) -> None:
    """Write a consistent copy of the SQLite database `using` to `path`; writers go on meanwhile.

    Raises:
        OSError, sqlite3.Error: the disk does not take it; then `path` is not there.

    """
    connection = connections[using]
    connection.ensure_connection()
    try:
        with closing(sqlite3.connect(path)) as target:
            connection.connection.backup(target, pages=_PAGES, sleep=0)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
