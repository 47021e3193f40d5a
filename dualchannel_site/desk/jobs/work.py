"""A job is done: what each kind runs, and how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module

from django.db import OperationalError

from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.patience import patiently, renew_connection
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


class UnrecordedError(Exception):
    """A job has come to its end, and its row does not say so."""


def work(job_id: int, *, worker: int) -> None:
    """Do the job `job_id`, which the process `worker` has begun, and record its end.

    To be called in a process that ends after it: from the job's end on it no longer heeds SIGINT and SIGTERM.

    Raises:
        UnrecordedError: the database was busy or away until it was asked no more.

    """
    job = patiently(lambda: Job.objects.get(pk=job_id))
    end = _end_of(job, worker)
    renew_connection()
    try:
        _record(job, end)
    except OperationalError as error:
        raise UnrecordedError(f"{job.title} has ended ({end.func.__name__}), which is not recorded: {error}") from error


def _record(job: Job, end: partial[None]) -> None:
    try:
        patiently(end)
    except OperationalError:
        raise
    except Exception as error:
        # A result that no column takes.
        failure = error
        patiently(lambda: job.fail(failure))


def _end_of(job: Job, worker: int) -> partial[None]:
    """Do the job; return the call that records how it ended."""
    try:
        with reporting(job, worker=worker) as report:
            outcome = _outcome(job, report)
    except (KeyboardInterrupt, Interrupted) as stop:
        return partial(job.stop, str(stop) or "stopped")
    except Exception as error:
        return partial(job.fail, error)
    if outcome.failure:
        return partial(job.fail, outcome.failure, result=dict(outcome.result))
    return partial(job.succeed, dict(outcome.result))


def _outcome(job: Job, report: Report) -> Outcome:
    try:
        return _runner(job)(job, report)
    finally:
        # What came of it is known: told to stop while a busy database takes that, the job would count as cancelled.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _runner(job: Job) -> Runner:
    module, name = _RUNNERS[job.kind]
    runner: Runner = getattr(import_module(f"dualchannel_site.desk.jobs.{module}"), name)
    return runner
