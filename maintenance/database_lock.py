"""One night at a time in a database, from whichever host and with whichever folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from training.lock import LockedError

# Any number that no other lock of this project takes.
_ADVISORY_LOCK = 0x7409

# A session of that sort may be idle for hours.
_PREPARE = "SELECT set_config('application_name', %s, false), set_config('idle_session_timeout', '0', false)"
_HOLDER = """
    SELECT activity.application_name, activity.backend_start
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.locktype = 'advisory' AND held.granted AND activity.datname = current_database()
    AND held.database = activity.datid AND (held.classid, held.objid, held.objsubid) = (0, %s, 1)
"""


@contextmanager
def database_lock(*, using: str) -> Iterator[None]:
    """Hold the lock of the PostgreSQL database `using`; SQLite is for one host, where a lock of the folder is enough.

    The server holds it for a session of its own, since that of the steps may be ended and begun anew in the middle of a
    night, and it goes with its process, however that ends.

    Raises:
        LockedError: another process holds it; the message says which, where, since when, as far as the server knows.
        DatabaseError: the server cannot be reached.

    """
    if connections[using].vendor != "postgresql":
        yield
        return
    session = connections[using].copy()
    try:
        with session.cursor() as cursor:
            cursor.execute(_PREPARE, [f"process {os.getpid()} on {socket.gethostname()}"])
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
            if cursor.fetchone() != (True,):
                database = session.settings_dict["NAME"]
                raise LockedError(
                    f"database {database}: {_holder(session)} works in it; allowed is one night at a time"
                )
        try:
            yield
        finally:
            # Closing alone lets go of it a moment later. A session that was lost holds nothing.
            with suppress(DatabaseError), session.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])
    finally:
        session.close()


def _holder(session: BaseDatabaseWrapper) -> str:
    with session.cursor() as cursor:
        cursor.execute(_HOLDER, [_ADVISORY_LOCK])
        row = cursor.fetchone()
    # It may be done by now, or belong to a role whose sessions this one may not see.
    name, since = row or ("", None)
    return (name or "another process") + (f" (since {since.isoformat(timespec='seconds')})" if since else "")
