"""A database whose changes vanish: what a dry run works on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connections, transaction

from maintenance.backup import copy_sqlite
from memory.databases import database_file


@contextmanager
def rehearsal(*, using: str, folder: Path) -> Iterator[str]:
    """Yield the alias of a database that holds what `using` holds, and whose changes nobody ever sees.

    Of SQLite it is a copy in `folder`, so that writers are not kept waiting; elsewhere a transaction that is rolled
    back, in which other sessions wait for nothing but the rows that it has changed.
    """
    if connections[using].vendor == "sqlite":
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=folder) as scratch:
            copy = Path(scratch) / "copy.sqlite3"
            copy_sqlite(copy, using=using)
            with database_file(copy) as alias:
                yield alias
        return
    with transaction.atomic(using=using):
        yield using
        transaction.set_rollback(True, using=using)
