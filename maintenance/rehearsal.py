"""A database whose changes vanish: what a dry run works on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connections, transaction

from maintenance.housekeeping.backup import copy_sqlite, lacking_space
from memory.databases import UnfitDatabaseError, database_file

_PREFIX = ".dry-run-"


@contextmanager
def rehearsal(*, using: str, folder: Path) -> Iterator[str]:
    """Yield the alias of a database that holds what `using` holds, and whose changes nobody ever sees.

    Of SQLite it is a copy in `folder`, so that writers are not kept waiting; elsewhere a transaction that is rolled
    back, in which other sessions wait for nothing but the rows that it has changed. The same goes where SQLite is in a
    transaction already: others wait for that one anyway, and what it has written so far cannot be copied.

    Raises:
        UnfitDatabaseError: the database lacks migrations.
        OSError: there is no room for the copy; says how much there is and is needed.
        sqlite3.Error: the disk was filled by others meanwhile.

    """
    if connections[using].vendor == "sqlite" and not connections[using].in_atomic_block:
        folder.mkdir(parents=True, exist_ok=True)
        if lacking := lacking_space(folder, using=using):
            raise OSError(f"{lacking} for the copy that a dry run works on")
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as scratch:
            copy = Path(scratch) / "copy.sqlite3"
            copy_sqlite(copy, using=using)
            try:
                with database_file(copy) as alias:
                    yield alias
            except UnfitDatabaseError as error:
                # Its own words name the copy, which nobody has ever seen.
                raise UnfitDatabaseError("migrations are not applied; run `manage.py migrate`") from error
        return
    with transaction.atomic(using=using):
        yield using
        transaction.set_rollback(True, using=using)


def clear_rehearsals(folder: Path) -> None:
    """Remove what dry runs that were killed have left in `folder`; the caller holds its lock, so that none is alive."""
    for left in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left)
