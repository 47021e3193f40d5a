"""What a job says of itself reaches its row, seldom enough, and survives a busy database."""

import os
import signal
import threading
import time

import pytest
from django.db import OperationalError
from django.utils import timezone

from dualchannel_site.desk.jobs import reporting
from dualchannel_site.desk.jobs.reporting import Report
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import MAX_MESSAGES
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> Job:
    now = timezone.now()
    return Job.objects.create(kind=Job.Kind.TRAINING, status=Job.Status.RUNNING, started_at=now, heartbeat_at=now)


def test_what_was_said_last_is_written(job: Job) -> None:
    run = TrainingRun.objects.create(config_path="x", config={})
    report = Report(job)
    report.progress("step 1", 0.1)
    report.progress("step 2" + "x" * 300, 1.7)
    report.say("mind the gap")
    report.link(training_run=run.pk)
    assert Job.objects.get().progress_text == ""
    report.write()
    job.refresh_from_db()
    assert (job.progress_text, job.progress_share) == (("step 2" + "x" * 300)[:255], 1.0)
    assert (job.messages, job.training_run) == (["mind the gap"], run)


def test_of_many_lines_the_last_are_kept(job: Job) -> None:
    report = Report(job)
    for number in range(MAX_MESSAGES + 5):
        report.say(f"line {number}")
    report.write()
    assert Job.objects.get().messages == [f"line {number}" for number in range(5, MAX_MESSAGES + 5)]


def test_without_news_the_row_is_left_alone_until_it_is_time_for_a_sign_of_life(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report(job)
    report.write()
    assert Job.objects.get().heartbeat_at == job.heartbeat_at
    monkeypatch.setattr(reporting, "BEAT_EVERY_SECONDS", 0.0)
    report.write()
    assert Job.objects.get().heartbeat_at != job.heartbeat_at


def test_what_a_busy_database_did_not_take_is_written_the_next_time(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(job: Job, **progress: object) -> None:
        raise OperationalError("database is locked")

    report = Report(Job.objects.get())
    report.progress("half", 0.5)
    report.say("first")
    with monkeypatch.context() as patch:
        patch.setattr(Job, "beat", locked)
        with pytest.raises(OperationalError):
            report.write()
    report.progress("more than half", 0.6)
    report.write()
    stored = Job.objects.get()
    assert (stored.progress_text, stored.messages) == ("more than half", ["first"])


def test_what_is_left_at_the_end_is_written(job: Job) -> None:
    with reporting.reporting(job, worker=os.getppid()) as report:
        report.progress("done", 1.0)
    assert Job.objects.get().progress_text == "done"


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_worker_is_gone_is_interrupted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "WRITTEN_EVERY_SECONDS", 0.01)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert threading.current_thread() is threading.main_thread()
        with pytest.raises(KeyboardInterrupt), reporting.reporting(job, worker=-1):
            time.sleep(30)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the worker is gone; stopping" in Job.objects.get().messages
