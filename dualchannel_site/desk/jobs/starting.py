"""A job is asked for."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError, transaction
from django.utils import timezone

from dualchannel_site.desk.jobs.tasks import do_job
from dualchannel_site.desk.models import Job

_log = logging.getLogger(__name__)


class JobOpenError(ValueError):
    """A job of that kind waits or is at work already; `job` is that one."""

    def __init__(self, job: Job) -> None:
        super().__init__(
            f"{job.get_kind_display()} job {job.pk} is {job.status} since "
            f"{timezone.localtime(job.started_at or job.requested_at):%Y-%m-%d %H:%M}; "
            f"allowed is one {job.get_kind_display()} at a time"
        )
        self.job = job


def start_job(*, kind: Job.Kind, options: dict[str, Any], user: User | AnonymousUser) -> Job:
    """Store a job and queue it for the worker, both or neither; return it.

    Jobs whose process died without a word are closed first, so that they keep nobody from starting again.

    Raises:
        JobOpenError: one of that kind waits or is at work.

    """
    Job.objects.close_dead(now=timezone.now())
    try:
        with transaction.atomic():
            job = Job.objects.create(kind=kind, options=options, requested_by_id=user.pk)
            do_job.enqueue(job.pk)
    except IntegrityError as error:
        # The constraint decides, not a look before: two people may ask in the same moment.
        if (other := Job.objects.open().of_kind(kind).first()) is None:
            raise
        raise JobOpenError(other) from error
    _log.info("%s asked for by %s: %s", job, user.get_username(), options)
    return job


def cancel_job(job: Job, *, user: User | AnonymousUser) -> bool:
    """Let `user` cancel the job; return False where it has ended."""
    done = job.cancel(user=user)
    if done:
        _log.info("%s cancelled by %s", job, user.get_username())
    return done
