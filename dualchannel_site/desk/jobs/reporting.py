"""What a job says while it works, written to its row at most once a second."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connection

from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import MAX_MESSAGES, MAX_PROGRESS_LENGTH

_log = logging.getLogger(__name__)

WRITTEN_EVERY_SECONDS = 1.0
# Without news the row is written as seldom as this, to say that the process lives.
BEAT_EVERY_SECONDS = 10.0
# Between two words to a job that goes on although its worker is gone.
REMINDED_EVERY_SECONDS = 120.0


class Report:
    """What the code that does a job tells it; any thread may call."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._changed: dict[str, Any] = {}
        self._messages: deque[str] = deque(job.messages, maxlen=MAX_MESSAGES)
        self._written_at = time.monotonic()
        # Called before each writing, for what has to be looked up.
        self.look: Callable[[], None] = lambda: None

    def progress(self, text: str, share: float | None = None) -> None:
        """Say what is being done, and the share of it that is done, 0 to 1."""
        bounded = None if share is None else min(max(share, 0.0), 1.0)
        with self._lock:
            self._changed |= {"progress_text": text[:MAX_PROGRESS_LENGTH], "progress_share": bounded}

    def say(self, line: str) -> None:
        """Say what a person who watches should know."""
        with self._lock:
            self._messages.append(line)
            self._changed["messages"] = list(self._messages)

    def link(self, **rows: int) -> None:
        """Say which row the job works on: `training_run` or `maintenance_run`, by its key."""
        with self._lock:
            self._changed |= {f"{name}_id": key for name, key in rows.items()}

    def write(self) -> None:
        """Write what is new to the job's row; without news only that the process lives, and not every time."""
        self.look()
        with self._lock:
            changed, self._changed = self._changed, {}
        if not changed and time.monotonic() - self._written_at < BEAT_EVERY_SECONDS:
            return
        try:
            self._job.beat(**changed)
        except DatabaseError:
            with self._lock:
                self._changed = {**changed, **self._changed}
            raise
        self._written_at = time.monotonic()


@contextmanager
def reporting(job: Job, *, worker: int) -> Iterator[Report]:
    """Give the job's report, written by a thread of its own, which also ends the job once the process `worker` is gone.

    A thread of its own has a connection of its own: what it writes is seen at once, whatever transaction the job is in.
    """
    report, ended = Report(job), threading.Event()
    thread = threading.Thread(target=_keep_writing, args=(report, ended, worker), daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()
        _try_to_write(report)


def _keep_writing(report: Report, ended: threading.Event, worker: int) -> None:
    main = threading.main_thread().ident or 0
    reminded_at: float | None = None
    while not ended.wait(WRITTEN_EVERY_SECONDS):
        _try_to_write(report)
        now = time.monotonic()
        if os.getppid() != worker and (reminded_at is None or now - reminded_at >= REMINDED_EVERY_SECONDS):
            report.say("the worker is gone; stopping")
            # As Ctrl-C would, and to the thread that is at work: it may be waiting for something.
            signal.pthread_kill(main, signal.SIGINT)
            reminded_at = now
    connection.close()


def _try_to_write(report: Report) -> None:
    try:
        report.write()
    except DatabaseError as error:
        # Busy, or away for a moment; what is new is kept for the next time.
        _log.warning("progress is not written: %s", error)
        connection.close_if_unusable_or_obsolete()
