"""What a worker finds of one that died: jobs that nobody does any more, and jobs that nobody will begin."""

from __future__ import annotations

import logging
import os
import socket

import psutil
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from dualchannel_site.desk.jobs.tasks import do_job
from dualchannel_site.desk.models import Job

_log = logging.getLogger(__name__)


def close_lost() -> int:
    """Close the jobs that died without a word, those of this machine at once; return how many there were."""
    closed = Job.objects.close_dead(now=timezone.now())
    for job in Job.objects.running().filter(host=socket.gethostname(), pid__isnull=False):
        if not _is_there(job.pid):
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


def _is_there(pid: int | None) -> bool:
    """Return whether a job's process has that number, which leads a session of its own."""
    try:
        # Killed with its worker it stays in the table of processes until init clears it away, if that ever does.
        return pid is not None and os.getsid(pid) == pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
