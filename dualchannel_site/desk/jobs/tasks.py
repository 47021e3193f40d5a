"""The one task of the queue: do a job."""

from __future__ import annotations

from django_tasks import task

from dualchannel_site.desk.jobs.supervision import supervise


@task()
def do_job(job_id: int) -> None:
    """Do the job in a process of its own, and wait for its end.

    How it went is in the job's row alone, so that a job which fails is no failed task.
    """
    supervise(job_id)
