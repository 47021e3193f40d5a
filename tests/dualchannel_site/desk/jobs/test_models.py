"""A job's states: who may be where, who ends it, when it counts as dead."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.utils import timezone

from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import DEAD_AFTER

pytestmark = pytest.mark.django_db


def job(**fields: object) -> Job:
    return Job.objects.create(**{"kind": Job.Kind.NIGHT, **fields})


def running(**fields: object) -> Job:
    now = timezone.now()
    return job(**{"status": Job.Status.RUNNING, "started_at": now, "heartbeat_at": now, **fields})


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"kind": "dance"}, "job_kind_known"),
        ({"status": "bored"}, "job_status_known"),
        ({"progress_share": 1.5}, "job_share_in_unit_interval"),
        ({"progress_share": -0.5}, "job_share_in_unit_interval"),
    ],
)
def test_what_no_job_may_be_is_not_stored(fields: dict[str, object], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        job(**fields)


@pytest.mark.parametrize("first", [Job.Status.QUEUED, Job.Status.RUNNING])
@pytest.mark.parametrize("second", [Job.Status.QUEUED, Job.Status.RUNNING])
def test_of_a_kind_one_job_is_open(first: Job.Status, second: Job.Status) -> None:
    job(status=first)
    with pytest.raises(IntegrityError):
        job(status=second)


def test_ended_jobs_and_other_kinds_are_in_nobodys_way() -> None:
    job(status=Job.Status.FAILED)
    job(status=Job.Status.SUCCEEDED)
    job(kind=Job.Kind.TRAINING)
    assert job().is_open


def test_a_job_begins_once() -> None:
    waiting = job()
    assert waiting.begin(host="here") is True
    assert (waiting.status, waiting.host) == ("running", "here")
    assert Job.objects.get().begin(host="there") is False
    assert Job.objects.get().host == "here"


def test_a_job_that_waits_is_cancelled_at_once_and_never_begins(django_user_model: type[User]) -> None:
    anna = django_user_model.objects.create(username="anna")
    waiting = job()
    assert waiting.cancel(user=anna) is True
    assert (waiting.status, waiting.cancelled_by) == ("cancelled", anna)
    assert waiting.finished_at is not None
    assert waiting.begin(host="here") is False


def test_a_job_at_work_is_asked_to_stop_and_the_first_who_asked_stays_on_record(django_user_model: type[User]) -> None:
    anna, ben = (django_user_model.objects.create(username=name) for name in ("anna", "ben"))
    working = running()
    assert Job.objects.asked_to_stop(working.pk) is False
    assert working.cancel(user=anna) is True
    assert working.cancel(user=ben) is True
    assert (working.status, working.cancelled_by) == ("running", anna)
    assert Job.objects.asked_to_stop(working.pk) is True
    working.stop("stopped")
    assert working.status == "cancelled"


def test_a_job_that_has_ended_cannot_be_cancelled(django_user_model: type[User]) -> None:
    ended = job(status=Job.Status.SUCCEEDED)
    assert ended.cancel(user=django_user_model.objects.create(username="anna")) is False
    ended.refresh_from_db()
    assert (ended.status, ended.cancelled_by) == ("succeeded", None)


def test_a_job_that_nobody_cancelled_is_interrupted() -> None:
    working = running()
    working.stop("the lights went out")
    assert (working.status, working.error) == ("interrupted", "the lights went out")


def test_a_failure_keeps_message_class_and_traceback_apart() -> None:
    working = running()
    try:
        raise KeyError("no such dog")
    except KeyError as error:
        working.fail(error)
    assert working.error == "'no such dog'"
    assert working.exception_class == "builtins.KeyError"
    assert working.traceback.endswith("KeyError: 'no such dog'\n")


def test_an_error_without_words_has_its_name() -> None:
    working = running()
    working.fail(RuntimeError())
    assert working.error == "RuntimeError"


def test_the_first_end_stands() -> None:
    working = running()
    working.fail("broken")
    working.succeed({"all": "well"})
    assert (working.status, working.error, working.result) == ("failed", "broken", {})


def test_a_job_without_sign_of_life_is_closed_and_one_with_a_late_sign_is_not() -> None:
    now = timezone.now()
    dead = running(heartbeat_at=now - DEAD_AFTER - timedelta(seconds=1))
    living = running(kind=Job.Kind.TRAINING, heartbeat_at=now - DEAD_AFTER + timedelta(seconds=1))
    assert (dead.is_dead, living.is_dead) == (True, False)
    assert Job.objects.close_dead(now=now) == 1
    dead.refresh_from_db()
    living.refresh_from_db()
    assert (dead.status, living.status) == ("interrupted", "running")
    assert dead.error == "no sign of life for more than 120 seconds: its process is taken for dead"
    assert dead.finished_at == dead.heartbeat_at


def test_a_dead_job_is_closed_by_whoever_cancels_it(django_user_model: type[User]) -> None:
    anna = django_user_model.objects.create(username="anna")
    died_at = timezone.now() - timedelta(days=2)
    dead = running(started_at=died_at - timedelta(minutes=5), heartbeat_at=died_at)
    assert dead.duration == timedelta(minutes=5)
    assert dead.cancel(user=anna) is True
    assert (dead.status, dead.finished_at, dead.cancelled_by) == ("interrupted", died_at, anna)
    assert dead.error.startswith("no sign of life")
    # Should its process live after all, it is told.
    assert Job.objects.asked_to_stop(dead.pk) is True


def test_a_job_that_died_before_it_could_stop_is_closed_by_a_second_wish(django_user_model: type[User]) -> None:
    anna, ben = (django_user_model.objects.create(username=name) for name in ("anna", "ben"))
    working = running()
    working.cancel(user=anna)
    Job.objects.update(heartbeat_at=timezone.now() - 2 * DEAD_AFTER)
    assert working.cancel(user=ben) is True
    assert (working.status, working.cancelled_by) == ("interrupted", anna)


def test_a_job_that_was_taken_for_dead_and_lived_has_the_last_word() -> None:
    working = running(heartbeat_at=timezone.now() - 2 * DEAD_AFTER)
    Job.objects.close_dead(now=timezone.now())
    working.succeed({"pairs": 3})
    assert (working.status, working.error, working.result) == ("succeeded", "", {"pairs": 3})


def test_a_sign_of_life_touches_no_field_but_its_own() -> None:
    working = running(heartbeat_at=timezone.now() - timedelta(seconds=60))
    Job.objects.update(error="written by another process")
    working.beat(progress_text="half", progress_share=0.5)
    stored = Job.objects.get()
    assert (stored.progress_text, stored.progress_share, stored.error) == ("half", 0.5, "written by another process")
    assert stored.heartbeat_at is not None
    assert stored.heartbeat_at > timezone.now() - timedelta(seconds=5)
