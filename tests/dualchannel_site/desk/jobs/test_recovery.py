"""What a worker does about jobs of one that died, before it takes its first task."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from dualchannel_site.desk.jobs.recovery import SILENT_FOR, close_lost, queue_lost
from dualchannel_site.desk.jobs.starting import start_job
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import DEAD_AFTER

pytestmark = pytest.mark.django_db
WAITS = "import sys; sys.stdin.read()"


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    return process.pid


@pytest.fixture
def alive() -> Iterator[int]:
    """The number of a process that is there, as a job's is: in a session of its own."""
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, start_new_session=True)
    yield process.pid
    process.communicate()


def running(**fields: object) -> Job:
    """Return a job at work that was last heard of so long ago that nobody waits for it, and is not taken for dead."""
    now = timezone.now()
    heard_at = now - SILENT_FOR
    states = {"status": Job.Status.RUNNING, "started_at": now, "heartbeat_at": heard_at, "host": socket.gethostname()}
    return Job.objects.create(**{"kind": Job.Kind.NIGHT, **states, **fields})


def test_a_job_of_this_machine_whose_process_is_gone_is_closed(gone: int) -> None:
    job = running(pid=gone)
    assert close_lost() == 1
    job.refresh_from_db()
    assert (job.status, job.error) == ("interrupted", "its process is gone, and so is the worker that watched it")
    assert close_lost() == 0


def test_one_that_died_a_moment_ago_is_waited_for_and_closed(gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    job = running(pid=gone, heartbeat_at=timezone.now())
    assert close_lost() == 1
    job.refresh_from_db()
    assert job.status == "interrupted"
    assert sum(waited) == pytest.approx(SILENT_FOR.total_seconds(), abs=5)


def test_one_that_goes_on_in_a_container_of_the_same_name_is_left_alone(
    gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(pid=gone, heartbeat_at=timezone.now())
    monkeypatch.setattr(time, "sleep", lambda seconds: job.beat())
    assert close_lost() == 0
    job.refresh_from_db()
    assert job.status == "running"


def test_a_process_that_was_killed_and_not_cleared_away_yet_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, start_new_session=True)
    job = running(pid=process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert close_lost() == 1
    process.communicate()
    job.refresh_from_db()
    assert job.status == "interrupted"


def test_one_that_was_asked_to_stop_is_cancelled(gone: int, operator: User) -> None:
    job = running(pid=gone)
    job.cancel(user=operator)
    close_lost()
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_a_number_that_another_process_has_by_now_is_no_sign_of_life() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE)
    job = running(pid=process.pid)
    close_lost()
    process.communicate()
    job.refresh_from_db()
    assert job.status == "interrupted"


def test_jobs_that_live_or_cannot_be_seen_from_here_are_left_alone(gone: int, alive: int) -> None:
    kinds = iter(Job.Kind)
    jobs = [
        running(kind=next(kinds), pid=alive),
        running(kind=next(kinds), pid=gone, host="elsewhere"),
        running(kind=next(kinds), pid=None),
    ]
    assert close_lost() == 0
    assert {Job.objects.get(pk=job.pk).status for job in jobs} == {"running"}


def test_a_job_that_died_elsewhere_is_closed_after_its_time() -> None:
    job = running(host="elsewhere", pid=os.getpid(), heartbeat_at=timezone.now() - 2 * DEAD_AFTER)
    assert close_lost() == 1
    job.refresh_from_db()
    assert job.status == "interrupted"


def test_a_job_whose_worker_died_before_it_began_is_queued_again(operator: User) -> None:
    lost = start_job(kind=Job.Kind.NIGHT, options={}, user=operator)
    DBTaskResult.objects.get().claim("a worker that died")
    waiting = start_job(kind=Job.Kind.EXTRACTION, options={"since": None}, user=operator)
    assert queue_lost() == 1
    tasks = [task.args_kwargs["args"] for task in DBTaskResult.objects.ready()]
    assert sorted(tasks) == [[lost.pk], [waiting.pk]]
    assert queue_lost() == 0


def test_the_worker_looks_after_lost_jobs_before_it_works(gone: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_tasks_db.management.commands.db_worker.Worker.run", lambda worker: None)
    monkeypatch.setattr("django_tasks_db.management.commands.db_worker.Worker.configure_signals", lambda worker: None)
    lost = running(pid=gone)
    never_begun = Job.objects.create(kind=Job.Kind.EXTRACTION, options={"since": None})
    call_command("db_worker", "--no-reload", "--batch", verbosity=0)
    lost.refresh_from_db()
    assert lost.status == "interrupted"
    assert DBTaskResult.objects.ready().get().args_kwargs["args"] == [never_begun.pk]


def test_the_worker_is_the_one_of_the_desk() -> None:
    assert get_commands()["db_worker"] == "dualchannel_site.desk"
