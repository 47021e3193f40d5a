"""A database that is busy, or restarts, is asked again: what a job came to is not lost for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

# It is asked so often; on SQLite each time waits a minute for the lock.
TRIES = 30
WAIT_SECONDS = 1.0


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Return what `ask` answers, which is called again while the database is busy or away.

    Raises:
        OperationalError: it was so every time.

    """
    for _ in range(TRIES - 1):
        try:
            return ask()
        except OperationalError as error:
            _log.warning("the database is asked again: %s", error)
            time.sleep(WAIT_SECONDS)
            renew_connection()
    return ask()


def renew_connection() -> None:
    """Let the next query have a connection that works, after one that ended in the middle or was cut off."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
