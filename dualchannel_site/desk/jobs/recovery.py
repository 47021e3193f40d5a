"""What a worker finds of one that died: jobs that nobody does any more, and jobs that nobody will begin."""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import timedelta

import psutil
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from dualchannel_site.desk.jobs.reporting import BEAT_EVERY_SECONDS
from dualchannel_site.desk.jobs.tasks import do_job
from dualchannel_site.desk.models import Job

_log = logging.getLogger(__name__)

# Containers may share the name of a machine, and do not see each other's processes: a job that is heard of lives.
SILENT_FOR = timedelta(seconds=3 * BEAT_EVERY_SECONDS)


def close_lost() -> int:
    """Close the jobs that died without a word; return how many there were.

    Those whose process is not on this machine, which was theirs, are waited for until they have been silent for
    `SILENT_FOR`.
    """
    closed = Job.objects.close_dead(now=timezone.now())
    for job in Job.objects.running().filter(host=socket.gethostname(), pid__isnull=False):
        if not _is_there(job.pid) and _stays_silent(job):
            job.stop("its process is gone, and so is the worker that watched it")
            closed += 1
    if closed:
        _log.warning("jobs whose processes were gone: %s", closed)
    return closed


def queue_lost() -> int:
    """Queue the jobs again whose worker died before it had begun them; return how many there were.

    One that is about to begin has two tasks by that, of which the second leaves it alone.
    """
    queued = 0
    for job in Job.objects.waiting():
        if not DBTaskResult.objects.ready().filter(args_kwargs={"args": [job.pk], "kwargs": {}}).exists():
            do_job.enqueue(job.pk)
            queued += 1
    return queued


def _stays_silent(job: Job) -> bool:
    """Wait until the job has said nothing for `SILENT_FOR`; return False where it is heard of meanwhile, or ends."""
    heard_at = job.heartbeat_at
    if heard_at is not None:
        time.sleep(max(0.0, (heard_at + SILENT_FOR - timezone.now()).total_seconds()))
    return Job.objects.running().filter(pk=job.pk, heartbeat_at=heard_at).exists()


def _is_there(pid: int | None) -> bool:
    """Return whether a job's process has that number, which leads a session of its own."""
    try:
        # Killed with its worker it stays in the table of processes until init clears it away, if that ever does.
        return pid is not None and os.getsid(pid) == pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
