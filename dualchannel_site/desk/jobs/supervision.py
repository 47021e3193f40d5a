"""The worker's side of a job: a process of its own, watched until it ends.

A process of its own, so that a training's gigabytes go when it ends, and so that stopping or losing it leaves the
worker to the next job. The job's process ends itself should the worker be gone
(`dualchannel_site.desk.jobs.reporting`).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from dualchannel_site.desk.jobs.patience import patiently, renew_connection
from dualchannel_site.desk.jobs.process import UNRECORDED
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import KEPT_FOR

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# How a job that is to stop is told: as by Ctrl-C; the same again, at which a training no longer waits for its step to
# end; by force. Seconds since the wish.
ESCALATION = ((0.0, signal.SIGINT), (120.0, signal.SIGINT), (240.0, signal.SIGKILL))
# A terminal and the script that started the worker may send the same signal both.
REPEATED_SECONDS = 2.0
_PROGRAM = "dualchannel_site.desk.jobs.process"


@dataclass(slots=True)
class _Stop:
    """Whether the worker is to stop, and so the job."""

    asked_at: float | None = None


def supervise(job_id: int) -> None:
    """Do the job `job_id` in a process of its own; return when that has ended and the job's row says how.

    A job that no longer waits, as one that was cancelled, is left alone.
    """
    # The task would be lost, and its job wait for ever.
    job = patiently(lambda: _begun(job_id))
    if job is None:
        _log.info("job %s no longer waits", job_id)
        return
    with _worker_signals() as stop:
        process = subprocess.Popen(  # noqa: S603 - fixed words and two numbers
            [sys.executable, "-m", _PROGRAM, str(job.pk), str(os.getpid())],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            # The terminal's Ctrl-C goes to the worker alone, which passes it on.
            start_new_session=True,
        )
        _watch(process, job, stop)
    patiently(lambda: _close(job, process.returncode, is_stopped=stop.asked_at is not None))
    _log.info("%s", job)


def _begun(job_id: int) -> Job | None:
    """Return the job, begun, or None where it no longer waits."""
    now = timezone.now()
    Job.objects.close_dead(now=now)
    # Rows come by jobs alone: with each one that begins, the oldest go.
    Job.objects.outlived(now=now).delete()
    _outlived_tasks(now).delete()
    job = Job.objects.filter(pk=job_id).first()
    return job if job is not None and job.begin(host=socket.gethostname()) else None


def _outlived_tasks(now: datetime) -> QuerySet[Any]:
    """Return the queue's rows of tasks that ended long ago, or began then with a worker that died."""
    before = now - KEPT_FOR
    return DBTaskResult.objects.filter(
        Q(finished_at__lt=before) | Q(status=TaskResultStatus.RUNNING, started_at__lt=before)
    )


def _close(job: Job, code: int, *, is_stopped: bool) -> None:
    job.refresh_from_db()
    if job.status == Job.Status.RUNNING:
        _record_loss(job, code, is_stopped=is_stopped)


def _watch(process: subprocess.Popen[bytes], job: Job, stop: _Stop) -> None:
    """Wait for the process; tell it to stop where a person or the worker's own end asks for it."""
    is_named = False
    sent = 0
    asked_at: float | None = None
    while True:
        is_named = is_named or _name(process, job)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=POLL_SECONDS)
            return
        if asked_at is None and (stop.asked_at is not None or _is_cancelled(job)):
            asked_at = time.monotonic()
        if asked_at is not None and sent < len(ESCALATION):
            after, number = ESCALATION[sent]
            if time.monotonic() - asked_at >= after:
                _log.info("%s is told to stop by %s", job, number.name)
                # The whole group, as the terminal would: a night has a backup's process beside it.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                sent += 1


def _name(process: subprocess.Popen[bytes], job: Job) -> bool:
    """Record which process it is; return whether the database took it."""
    try:
        renew_connection()
        job.name_process(process.pid)
    except DatabaseError as error:
        _log.warning("%s: its process is not recorded: %s", job, error)
        return False
    return True


def _is_cancelled(job: Job) -> bool:
    try:
        renew_connection()
        return Job.objects.asked_to_stop(job.pk)
    except DatabaseError as error:
        # A database that is busy, or restarts, is no reason to give a job up.
        _log.warning("%s: cannot be looked up: %s", job, error)
        return False


def _record_loss(job: Job, code: int, *, is_stopped: bool) -> None:
    """Record the end of a job whose process could not do so itself."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    why = f"its process ended by {how} without a word; the worker's log may say more"
    if code == UNRECORDED:
        why = "it came to its end, and the database was too busy to take how; the worker's log says more"
    if is_stopped or job.cancel_requested_at is not None:
        job.stop(why)
    else:
        job.fail(why)


@contextmanager
def _worker_signals() -> Iterator[_Stop]:
    """Give what says whether the worker was told to stop; the worker hears of it, too, and ends after the job.

    Signals belong to the main thread: in any other, as under autoreload, the job ends when the worker has gone.
    """
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def pass_on(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if stop.asked_at is not None and now - stop.asked_at < REPEATED_SECONDS:
            return
        stop.asked_at = stop.asked_at or now
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, pass_on)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
