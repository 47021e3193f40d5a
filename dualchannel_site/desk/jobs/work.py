"""A job is done: what each kind runs, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from django.db import connection

from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.reporting import Report, reporting
from dualchannel_site.desk.models import Job
from training.trainer.stopping import Interrupted

Runner = Callable[[Job, Report], Outcome]
# Imported when it is its turn, for what a kind needs takes seconds to load.
_RUNNERS: Mapping[str, tuple[str, str]] = {
    Job.Kind.EXTRACTION: ("extraction", "extract_pairs"),
    Job.Kind.PLAN: ("training", "plan_training"),
    Job.Kind.TRAINING: ("training", "train"),
    Job.Kind.NIGHT: ("night", "take_night"),
}


def work(job_id: int, *, worker: int) -> None:
    """Do the job `job_id`, which the process `worker` has begun, and record its end."""
    job = Job.objects.get(pk=job_id)
    try:
        with reporting(job, worker=worker) as report:
            outcome = _runner(job)(job, report)
    except (KeyboardInterrupt, Interrupted) as stop:
        _renew_connection()
        job.stop(str(stop) or "stopped")
    except Exception as error:
        _renew_connection()
        job.fail(error)
    else:
        if outcome.failure:
            job.fail(outcome.failure, result=dict(outcome.result))
        else:
            job.succeed(dict(outcome.result))


def _renew_connection() -> None:
    """Let the end be recorded although the job ended in the middle of a query, or because the database went away."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _runner(job: Job) -> Runner:
    module, name = _RUNNERS[job.kind]
    runner: Runner = getattr(import_module(f"dualchannel_site.desk.jobs.{module}"), name)
    return runner
