"""Another SQLite database file of this project, as a connection beside the default one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

ALIAS = "database_file"


class UnfitDatabaseError(Exception):
    """The file is no database of this project as it is now; says what to do."""


@contextmanager
def database_file(path: Path) -> Iterator[str]:
    """Yield the alias of a connection to the database in `path`, which is closed at the end.

    Raises:
        UnfitDatabaseError: if the file is missing, is no SQLite database, or lacks migrations.

    """
    if not path.is_file():
        raise UnfitDatabaseError(f"{path}: no such file")
    connections.databases[ALIAS] = {
        **connections["default"].settings_dict,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path.resolve()),
        "OPTIONS": settings.SQLITE_OPTIONS,
    }
    try:
        _check(path)
        yield ALIAS
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


def check_migrated(*, using: str) -> None:
    """Refuse a database that is older than the code.

    Raises:
        UnfitDatabaseError: it lacks migrations.

    """
    if _missing_migrations(using):
        raise UnfitDatabaseError("migrations are not applied; run `manage.py migrate`")


def _check(path: Path) -> None:
    try:
        missing = _missing_migrations(ALIAS)
    except DatabaseError as error:
        raise UnfitDatabaseError(f"{path}: got no SQLite database ({error})") from error
    if missing:
        raise UnfitDatabaseError(
            f"{path}: {missing} migrations are not applied; "
            f"run `DATABASE_URL=sqlite:///{path.resolve()} python manage.py migrate`"
        )


def _missing_migrations(using: str) -> int:
    executor = MigrationExecutor(connections[using])
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
