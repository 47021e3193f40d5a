"""The worker's side of a job, with a database that is busy for a while."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from dualchannel_site.desk.jobs import patience, process, supervision
from dualchannel_site.desk.jobs.supervision import supervise
from dualchannel_site.desk.jobs.tasks import do_job
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import KEPT_FOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job that waits, and whose process ends without a word."""
    monkeypatch.setattr(supervision, "_PROGRAM", "keyword")
    monkeypatch.setattr(supervision, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.001)
    return Job.objects.create(kind=Job.Kind.EXTRACTION, options={"since": None})


@pytest.mark.parametrize("method", ["begin", "name_process", "fail"])
def test_a_database_that_is_busy_once_costs_neither_the_job_nor_the_worker(
    job: Job, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    real, calls = getattr(Job, method), []

    def busy(job: Job, *arguments: Any, **named: Any) -> Any:
        calls.append(method)
        if len(calls) == 1:
            raise OperationalError("database is locked")
        return real(job, *arguments, **named)

    monkeypatch.setattr(Job, method, busy)
    supervise(job.pk)
    job.refresh_from_db()
    assert len(calls) == 2
    assert job.pid is not None
    assert job.error.startswith("its process ended by exit code 0 without a word")


def test_a_database_that_stays_away_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(job: Job, **named: Any) -> bool:
        raise OperationalError("no route to host")

    monkeypatch.setattr(Job, "begin", away)
    with pytest.raises(OperationalError, match="no route to host"):
        supervise(job.pk)
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_job_whose_end_the_database_did_not_take_says_that_it_came_to_one(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "python").write_text(f"#!/bin/sh\nexit {process.UNRECORDED}\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    supervise(job.pk)
    job.refresh_from_db()
    assert (job.status, job.error) == (
        "failed",
        "it came to its end, and the database was too busy to take how; the worker's log says more",
    )


def ended(ago: timedelta, **fields: Any) -> Job:
    values = {"kind": Job.Kind.NIGHT, "status": "failed", "finished_at": timezone.now() - ago, **fields}
    return Job.objects.create(**values)


def test_what_ended_long_ago_goes_with_the_next_job_that_begins(job: Job) -> None:
    day = timedelta(days=1)
    old, kept = ended(KEPT_FOR + day), ended(KEPT_FOR - day)
    full = {"kind": Job.Kind.EXTRACTION, "status": "succeeded", "options": {"since": None}}
    last_full = ended(KEPT_FOR + 2 * day, **full)
    supervise(job.pk)
    assert set(Job.objects.exclude(pk=job.pk)) == {kept, last_full}
    assert not Job.objects.filter(pk=old.pk).exists()


def test_so_do_the_rows_of_the_queue(job: Job) -> None:
    day = timedelta(days=1)
    for status, ago in [("SUCCESSFUL", day), ("FAILED", -day), ("RUNNING", day), ("RUNNING", -day), ("READY", day)]:
        task = DBTaskResult.objects.get(pk=do_job.enqueue(0).id)
        when = timezone.now() - KEPT_FOR - ago
        task.status, task.enqueued_at = status, when
        task.started_at = None if status == "READY" else when
        task.finished_at = None if status in ("READY", "RUNNING") else when
        task.save()
    supervise(job.pk)
    assert sorted(DBTaskResult.objects.values_list("status", flat=True)) == ["FAILED", "READY", "RUNNING"]
