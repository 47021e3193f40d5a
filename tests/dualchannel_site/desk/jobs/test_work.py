"""Each kind of job does what its command does, and its row says how that went."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from dualchannel_site.desk.jobs import extraction, patience, process
from dualchannel_site.desk.jobs.configs import chosen_config, config_checksum
from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.results import result_tables
from dualchannel_site.desk.jobs.work import UnrecordedError, work
from dualchannel_site.desk.models import Job
from maintenance.models import MaintenanceRun
from maintenance.nightly import night_lock
from memory.models import SftPair
from tests.memory import rows
from tests.training.rows import preference_pairs, sft_pairs
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Signals as the process of a job takes them, and as they were afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def done(kind: Job.Kind, **options: Any) -> Job:
    """Return a job of that kind after its work."""
    now = timezone.now()
    job = Job.objects.create(kind=kind, options=options, status=Job.Status.RUNNING, started_at=now, heartbeat_at=now)
    work(job.pk, worker=os.getppid())
    job.refresh_from_db()
    assert job.finished_at is not None
    return job


def talk(name: str, **fields: Any) -> None:
    conversation = rows.conversation(name)
    question = rows.message(conversation, "m1", role="user", content=f"What is {name} called?", **fields)
    rows.message(conversation, "m2", parent=question, content=f"{name} is called Pixel.", **fields)


def test_an_extraction_stores_pairs_and_counts_them() -> None:
    talk("the dog")
    talk("the cat")
    job = done(Job.Kind.EXTRACTION, since=None)
    assert (job.status, job.error) == ("succeeded", "")
    assert job.result["created"] == SftPair.objects.count() == 2
    assert (job.progress_text, job.progress_share) == ("2 of 2 conversations", 1.0)


def test_an_extraction_since_a_day_leaves_out_what_is_older() -> None:
    talk("the dog", created_at="2026-01-01T00:00:00Z")
    talk("the cat", created_at="2026-03-01T00:00:00Z")
    job = done(Job.Kind.EXTRACTION, since="2026-02-01T00:00:00+00:00")
    assert job.result["created"] == 1
    assert SftPair.objects.get().instruction == "What is the cat called?"


def test_a_plan_says_what_would_be_trained_and_changes_nothing(configs: Path) -> None:
    sft_pairs(8)
    preference_pairs(8)
    job = done(Job.Kind.PLAN, config="small.yaml", overrides=["max_steps=6"])
    assert (job.status, job.error) == ("succeeded", "")
    assert job.result["steps"] == 6
    assert job.result["sft"]["pool"] == 8
    assert "some/model are not on this machine yet" in job.result["memory_estimate_reason"]
    assert not SftPair.objects.filter(is_used=True).exists()
    assert job.result["config_checksum"] == config_checksum(chosen_config("small.yaml", ["max_steps=6"]))


def test_a_config_that_changes_while_its_training_waits_is_not_trained(configs: Path) -> None:
    job = done(Job.Kind.TRAINING, config="small.yaml", overrides=[], plan=1, config_checksum="0" * 64)
    assert job.status == "failed"
    assert job.error == "small.yaml: the config changed since the plan; plan again"
    assert not TrainingRun.objects.exists()


def test_a_plan_of_too_few_pairs_says_so_in_one_line(configs: Path) -> None:
    job = done(Job.Kind.PLAN, config="small.yaml", overrides=[])
    assert job.status == "failed"
    assert "min_sft_pairs" in job.error
    assert "Traceback" in job.traceback
    assert job.exception_class == "training.selection.NotEnoughPairs"


def test_a_config_that_went_away_meanwhile_is_named(configs: Path) -> None:
    (configs / "small.yaml").unlink()
    (configs / "other.yaml").write_text("")
    job = done(Job.Kind.PLAN, config="small.yaml", overrides=[])
    assert job.status == "failed"
    assert "allowed other.yaml" in job.error


@pytest.mark.parametrize(("speed", "rows"), [(1234.5, [("tokens a second", "1,234")]), (None, [])])
def test_a_run_shows_its_speed_where_it_took_a_step(speed: float | None, rows: list[tuple[str, str]]) -> None:
    course = {"batches": 2, "pairs_used": 4, "loss_first": 2.0, "loss_last": 1.25}
    channels = {"sft": course, "preference": course}
    result = {**channels, "steps": 5, "evaluation": {}, "tokens_per_second": speed, "seconds": 61.0, "adapter": "run-7"}
    _, measured = result_tables(Job(kind=Job.Kind.TRAINING, result=result), with_texts=False)
    assert measured.rows == [*rows, ("time", "0:01:01"), ("adapter", "run-7")]


def test_a_night_takes_its_steps_and_is_linked(settings: Settings, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    job = done(Job.Kind.NIGHT, steps=["extract", "reemit"], dry_run=False)
    assert (job.status, job.error) == ("succeeded", "")
    assert set(job.result["steps"]) == {"extract", "reemit"}
    (table,) = result_tables(job, with_texts=False)
    assert [row[:2] for row in table.rows] == [("extract", "succeeded"), ("reemit", "succeeded")]
    assert job.maintenance_run == MaintenanceRun.objects.get()


def test_a_night_works_by_the_config_that_the_machine_names(settings: Settings, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    settings.NIGHTLY_CONFIG = tmp_path / "own.yaml"
    settings.NIGHTLY_CONFIG.write_text("reemit: {budget: 7}")
    assert done(Job.Kind.NIGHT, steps=["reemit"], dry_run=False).status == "succeeded"
    run = MaintenanceRun.objects.get()
    assert (run.config_path, run.config["reemit"]["budget"]) == (str(tmp_path / "own.yaml"), 7)


def test_a_night_with_a_failed_step_has_failed_and_keeps_its_result(settings: Settings, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    (tmp_path / "maintenance").mkdir()
    # No folder of backups can be made where a file is.
    (tmp_path / "maintenance" / "backups").write_text("")
    job = done(Job.Kind.NIGHT, steps=["reemit", "housekeeping"], dry_run=False)
    assert job.status == "failed"
    assert job.error.startswith("housekeeping: ")
    assert job.result["steps"]["reemit"]["status"] == "succeeded"


def test_a_second_night_at_once_is_told_who_works(settings: Settings, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    with night_lock(tmp_path):
        job = done(Job.Kind.NIGHT, steps=["reemit"], dry_run=False)
    assert job.status == "failed"
    assert "allowed is one night at a time" in job.error
    assert job.maintenance_run is None


def test_a_job_that_is_stopped_says_by_whom(monkeypatch: pytest.MonkeyPatch, django_user_model: Any) -> None:
    def stopped(job: Job, report: Any) -> None:
        job.cancel(user=django_user_model.objects.create(username="anna"))
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "extract_pairs", stopped)
    job = done(Job.Kind.EXTRACTION, since=None)
    assert (job.status, job.error) == ("cancelled", "stopped")
    assert job.cancelled_by == django_user_model.objects.get(username="anna")


def busy(real: Callable[..., None], *, times: int) -> Callable[..., None]:
    """Return `real`, whose first calls find the database locked."""
    left = [times]

    @wraps(real)
    def called(job: Job, *arguments: Any, **named: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise OperationalError("database is locked")
        real(job, *arguments, **named)

    return called


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_told_to_stop_as_its_end_is_recorded_has_ended_as_it_did(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    succeed = Job.succeed

    def told(job: Job, result: dict[str, Any]) -> None:
        os.kill(os.getpid(), number)
        succeed(job, result)

    monkeypatch.setattr(Job, "succeed", told)
    assert done(Job.Kind.EXTRACTION, since=None).status == "succeeded"


@pytest.mark.parametrize(
    ("method", "came_to", "status"),
    [
        ("succeed", Outcome({"created": 3}), "succeeded"),
        ("fail", Outcome({"created": 3}, "no room"), "failed"),
        ("fail", ValueError("no such dog"), "failed"),
        ("stop", KeyboardInterrupt(), "interrupted"),
    ],
)
def test_how_a_job_ended_is_recorded_although_the_database_is_busy_for_a_while(
    monkeypatch: pytest.MonkeyPatch, method: str, came_to: Outcome | BaseException, status: str
) -> None:
    def extract_pairs(job: Job, report: Any) -> Outcome:
        if isinstance(came_to, BaseException):
            raise came_to
        return came_to

    monkeypatch.setattr(extraction, "extract_pairs", extract_pairs)
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(Job, method, busy(getattr(Job, method), times=3))
    job = done(Job.Kind.EXTRACTION, since=None)
    assert (job.status, job.result) == (status, {"created": 3} if isinstance(came_to, Outcome) else {})


def test_a_database_that_stays_busy_ends_the_process_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(Job, "succeed", busy(Job.succeed, times=patience.TRIES))
    with pytest.raises(UnrecordedError) as unrecorded:
        done(Job.Kind.EXTRACTION, since=None)

    def work(job_id: int, *, worker: int) -> None:
        raise unrecorded.value

    monkeypatch.setattr("dualchannel_site.desk.jobs.work.work", work)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as ended:
        process.main(Job.objects.get().pk, os.getppid())
    assert ended.value.code == process.UNRECORDED
    assert "has ended (succeed), which is not recorded: database is locked" in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_a_result_that_cannot_be_stored_fails_its_job_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "extract_pairs", lambda job, report: Outcome({"when": object()}))
    job = done(Job.Kind.EXTRACTION, since=None)
    assert (job.status, job.result) == ("failed", {})
    assert "not JSON serializable" in job.error
