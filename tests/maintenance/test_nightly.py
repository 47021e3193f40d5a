"""A night takes its steps each for itself, and ends in a state that says what happened."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

from maintenance import nightly
from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun, MaintenanceStep
from maintenance.night import Night, StepOutcome
from maintenance.nightly import NightOrder, night_folder, night_lock, run_night
from memory.embeddings import Vectors
from memory.models import SftPair
from tests.maintenance.conftest import Stage
from tests.maintenance.staging import archive_all, lose_the_session, nothing
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from training.lock import LockedError

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ON_POSTGRES = pytest.mark.skipif(
    "postgresql" not in settings.DATABASES["default"]["ENGINE"], reason="SQLite has no sessions"
)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def order(artifacts: Path, *steps: str, dry_run: bool = False) -> NightOrder:
    return NightOrder(
        config=NightlyConfig(),
        config_path=Path("nightly.yaml"),
        steps=steps,
        dry_run=dry_run,
        artifacts=artifacts,
        project=artifacts,
    )


def taken(artifacts: Path, *steps: str, dry_run: bool = False, now: datetime = NOW) -> tuple[dict[str, Any], list[str]]:
    """Take steps; return the report and what was said."""
    said: list[str] = []
    embedder = FakeEmbedder()
    report = run_night(
        order(artifacts, *steps, dry_run=dry_run),
        say=said.append,
        now=now,
        version=lambda: embedder.version,
        load=lambda: embedder,
    )
    return report, said


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {name: step["status"] for name, step in report["steps"].items()}


def raising(error: BaseException) -> Callable[[Night], StepOutcome]:
    def act(night: Night) -> StepOutcome:
        raise error

    return act


def test_the_report_has_the_promised_keys(artifacts: Path, stage: Stage) -> None:
    stage(merge=lambda night: StepOutcome({"sft_merged": 3}, {"examples": []}))
    report, said = taken(artifacts, "merge")
    run = MaintenanceRun.objects.get()
    assert report == {
        "run": run.pk,
        "status": "succeeded",
        "steps": {
            "merge": {
                "status": "succeeded",
                "seconds": report["steps"]["merge"]["seconds"],
                "peak_rss_mb": report["steps"]["merge"]["peak_rss_mb"],
                "counts": {"sft_merged": 3},
                "error": "",
            }
        },
        "report": str(night_folder(artifacts) / "2026-03-01"),
    }
    assert report["steps"]["merge"]["seconds"] >= 0
    assert 10 < report["steps"]["merge"]["peak_rss_mb"] < 100_000
    assert json.loads(json.dumps(report)) == report
    assert said == []
    assert (run.status, run.started_at, run.config_path) == ("succeeded", NOW, "nightly.yaml")
    assert run.config == NightlyConfig().model_dump(mode="json")
    assert run.finished_at is not None
    step = run.steps.get()
    assert (step.status, step.counts, step.details) == ("succeeded", {"sft_merged": 3}, {"examples": []})


def test_steps_are_taken_in_their_own_order(artifacts: Path, stage: Stage) -> None:
    names: list[str] = []

    def note(night: Night) -> StepOutcome:
        names.append(night.step)
        return StepOutcome()

    stage(extract=note, merge=note, retire=note)
    report, _ = taken(artifacts, "retire", "extract")
    assert names == list(report["steps"]) == ["extract", "retire"]


def test_a_step_hears_when_the_night_began_and_what_it_works_on(artifacts: Path, stage: Stage) -> None:
    nights: list[Night] = []

    def note(night: Night) -> StepOutcome:
        nights.append(night)
        return StepOutcome()

    stage(merge=note)
    taken(artifacts, "merge")
    night = nights[0]
    assert (night.step, night.now, night.using, night.dry_run) == ("merge", NOW, "default", False)
    assert night.run == MaintenanceRun.objects.get()
    assert night.load().version == night.version() == "fake/16"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("it broke"), "it broke"),
        (RuntimeError("two\n  lines"), "two lines"),
        (ImportError("no module named faiss"), "no module named faiss"),
        (OperationalError("database is locked"), "database is locked"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (MemoryError(), "MemoryError"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_a_step_that_fails_does_not_stop_the_rest(error: Exception, line: str, artifacts: Path, stage: Stage) -> None:
    stage(merge=raising(error), retire=nothing)
    report, said = taken(artifacts, "merge", "retire")
    assert report["status"] == "failed"
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert said == [f"merge: {line}"]
    step = MaintenanceStep.objects.get(name="merge")
    assert (step.status, step.error) == ("failed", str(error))
    assert step.exception_class.endswith(type(error).__name__)
    assert "Traceback" in step.traceback
    assert step.seconds is not None
    assert MaintenanceRun.objects.get().status == "failed"


def test_a_step_whose_module_is_broken_fails_alone(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maintenance.steps.merge", None)
    report, said = taken(artifacts, "merge")
    assert statuses(report) == {"merge": "failed"}
    assert said == ["merge: import of maintenance.steps.merge halted; None in sys.modules"]


def test_what_a_failed_transaction_had_written_is_gone_and_the_night_goes_on(artifacts: Path, stage: Stage) -> None:
    def half_way(night: Night) -> StepOutcome:
        SftPair.objects.using(night.using).update(category="first")
        with transaction.atomic(using=night.using):
            SftPair.objects.using(night.using).update(category="second")
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM no_such_table")
        return StepOutcome()

    rows.sft_pair()
    stage(merge=half_way, retire=archive_all)
    report, _ = taken(artifacts, "merge", "retire")
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert report["steps"]["retire"]["counts"] == {"archived": 1}
    assert "no_such_table" in report["steps"]["merge"]["error"]
    assert SftPair.objects.get().category != "second"


@pytest.mark.django_db(transaction=True)
def test_what_a_failed_step_had_committed_stays(artifacts: Path, stage: Stage) -> None:
    def half_way(night: Night) -> StepOutcome:
        archive_all(night)
        raise RuntimeError("later")

    rows.sft_pair()
    stage(merge=half_way)
    taken(artifacts, "merge")
    assert SftPair.objects.get().archived_at == NOW


def test_a_query_that_fails_outside_any_transaction_does_not_spoil_the_rest(artifacts: Path, stage: Stage) -> None:
    def broken(night: Night) -> StepOutcome:
        rows.replay_entry(reward_intensity=2.0)
        return StepOutcome()

    stage(merge=broken, retire=archive_all)
    assert statuses(taken(artifacts, "merge", "retire")[0]) == {"merge": "failed", "retire": "succeeded"}


@pytest.mark.django_db(transaction=True)
@ON_POSTGRES
def test_a_session_that_the_server_has_ended_fails_one_step(artifacts: Path, stage: Stage) -> None:
    rows.sft_pair()
    stage(merge=lose_the_session, retire=archive_all)
    report, said = taken(artifacts, "merge", "retire")
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert len(said) == 1
    assert MaintenanceStep.objects.get(name="merge").status == "failed"


def test_an_embedder_that_fails_in_the_middle_fails_its_step_and_the_next_night_goes_on(artifacts: Path) -> None:
    class Failing(FakeEmbedder):
        def encode(self, texts: Sequence[str]) -> Vectors:
            raise RuntimeError("out of\nmemory")

    for number in range(3):
        rows.sft_pair(instruction=f"question {number}")
    said: list[str] = []
    report = run_night(order(artifacts, "embed"), say=said.append, now=NOW, version=lambda: "fake/16", load=Failing)
    assert (report["status"], statuses(report)) == ("failed", {"embed": "failed"})
    assert said == ["embed: the embedder failed after 0 of 3 pairs: out of memory"]
    report, said = taken(artifacts, "embed")
    assert report["steps"]["embed"]["counts"]["embedded_sft"] == 3
    assert said == []


@pytest.mark.parametrize("outcome", [StepOutcome({"rows": cast(int, np.int64(3))}), StepOutcome({}, {"ids": {1, 2}})])
def test_an_outcome_that_is_no_json_fails_the_step_alone(outcome: StepOutcome, artifacts: Path, stage: Stage) -> None:
    stage(merge=lambda night: outcome, retire=nothing)
    report, said = taken(artifacts, "merge", "retire")
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert "is not JSON serializable" in said[0]
    assert json.dumps(report)


def test_a_step_that_can_do_nothing_says_why(artifacts: Path, stage: Stage) -> None:
    stage(train=lambda night: StepOutcome({"runs": 0}, skipped="train.enabled is false"))
    report, said = taken(artifacts, "train")
    assert report["status"] == "succeeded"
    assert report["steps"]["train"]["status"] == "skipped"
    assert report["steps"]["train"]["error"] == "train.enabled is false"
    assert said == []
    step = MaintenanceStep.objects.get()
    assert (step.status, step.error, step.counts) == ("skipped", "train.enabled is false", {"runs": 0})


@pytest.mark.parametrize(
    ("stop", "why"), [(KeyboardInterrupt(), "stopped by a person"), (KeyboardInterrupt("terminated"), "terminated")]
)
def test_a_night_that_is_stopped_says_so(stop: BaseException, why: str, artifacts: Path, stage: Stage) -> None:
    stage(merge=raising(stop), retire=nothing)
    with pytest.raises(KeyboardInterrupt):
        taken(artifacts, "merge", "retire")
    run = MaintenanceRun.objects.get()
    assert (run.status, run.error) == ("interrupted", "stopped by a person")
    assert run.finished_at is not None
    assert list(run.steps.values_list("name", "status", "error")) == [("merge", "interrupted", why)]
    with night_lock(artifacts):
        pass


def test_a_night_that_is_stopped_while_it_reports_says_so(
    artifacts: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "write_report", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        taken(artifacts)
    assert MaintenanceRun.objects.get().status == "interrupted"


def test_a_night_that_died_is_closed_by_the_next(artifacts: Path, stage: Stage) -> None:
    dead = MaintenanceRun.objects.create(config_path="nightly.yaml", config={})
    dead.steps.create(name="extract", status="succeeded")
    dead.steps.create(name="merge")
    stage(merge=nothing)
    taken(artifacts, "merge")
    dead.refresh_from_db()
    why = "the process ended without a word"
    assert (dead.status, dead.error) == ("interrupted", why)
    assert dead.finished_at is not None
    ended = list(dead.steps.order_by("pk").values_list("status", "error"))
    assert ended == [("succeeded", ""), ("interrupted", why)]


@pytest.mark.parametrize("error", [OSError(20, "Not a directory"), DatabaseError("disk full"), KeyError("counts")])
def test_a_report_that_cannot_be_written_fails_the_night_and_loses_nothing(
    error: Exception, artifacts: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "write_report", raising(error))
    rows.sft_pair()
    stage(retire=archive_all)
    report, said = taken(artifacts, "retire")
    assert (report["status"], report["report"]) == ("failed", None)
    assert statuses(report) == {"retire": "succeeded"}
    assert said == [f"report: {error}"]
    run = MaintenanceRun.objects.get()
    assert (run.status, run.error, run.report) == ("failed", f"report: {error}", "")
    assert SftPair.objects.get().archived_at == NOW


def test_a_report_folder_that_is_not_writable_is_said_in_a_line(
    artifacts: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name.startswith("2026"):
            raise PermissionError(13, "Permission denied", str(path))
        make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    report, said = taken(artifacts)
    assert (report["status"], report["report"]) == ("failed", None)
    assert said == [f"report: [Errno 13] Permission denied: '{night_folder(artifacts) / '2026-03-01'}'"]


class Refusing:
    """Refuse statements that begin so, the given number of times, as a locked database does."""

    def __init__(self, beginning: str, times: int) -> None:
        self.beginning, self.times = beginning, times

    def __call__(self, execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith(self.beginning) and self.times:
            self.times -= 1
            raise OperationalError("database is locked")
        return execute(sql, *arguments)


def test_a_step_whose_end_is_not_taken_at_once_is_recorded_later(artifacts: Path, stage: Stage) -> None:
    stage(merge=lambda night: StepOutcome({"sft_merged": 3}), retire=nothing)
    with connection.execute_wrapper(Refusing('UPDATE "maintenance_maintenancestep" SET "run_id"', times=2)):
        report, said = taken(artifacts, "merge", "retire")
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert said == ["merge: database is locked", "merge: not recorded: database is locked"]
    steps = list(MaintenanceStep.objects.order_by("pk").values_list("name", "status", "error"))
    assert steps == [("merge", "failed", "database is locked"), ("retire", "succeeded", "")]


def test_a_step_whose_beginning_is_not_taken_is_not_begun(artifacts: Path, stage: Stage) -> None:
    stage(merge=raising(AssertionError("begun")), retire=nothing)
    with connection.execute_wrapper(Refusing('INSERT INTO "maintenance_maintenancestep"', times=2)):
        report, _ = taken(artifacts, "merge", "retire")
    assert report["steps"]["merge"]["error"] == "database is locked"
    assert set(MaintenanceStep.objects.values_list("name", "status")) == {("merge", "failed"), ("retire", "succeeded")}


def test_a_stopped_night_whose_step_cannot_be_recorded_is_stopped_all_the_same(artifacts: Path, stage: Stage) -> None:
    stage(merge=raising(KeyboardInterrupt()))
    refusing = Refusing('UPDATE "maintenance_maintenancestep" SET "run_id"', times=1)
    with connection.execute_wrapper(refusing), pytest.raises(KeyboardInterrupt):
        taken(artifacts, "merge")
    assert MaintenanceRun.objects.get().status == "interrupted"
    # Its step is closed with the next night.
    taken(artifacts)
    assert MaintenanceStep.objects.get().status == "interrupted"


def test_a_night_that_the_database_does_not_take_is_an_error(artifacts: Path) -> None:
    refusing = Refusing('INSERT INTO "maintenance_maintenancerun"', times=1)
    with connection.execute_wrapper(refusing), pytest.raises(OperationalError):
        taken(artifacts)
    with night_lock(artifacts):
        pass


def test_a_clock_that_was_set_back_an_hour_is_no_matter(artifacts: Path, stage: Stage) -> None:
    stage(retire=archive_all)
    rows.sft_pair()
    taken(artifacts, "retire")
    rows.sft_pair()
    report, said = taken(artifacts, "retire", now=NOW - timedelta(hours=1))
    assert (report["status"], said) == ("succeeded", [])
    assert report["steps"]["retire"]["counts"] == {"archived": 1}
    nights = list(MaintenanceRun.objects.order_by("pk").values_list("started_at", "status"))
    assert nights == [(NOW, "succeeded"), (NOW - timedelta(hours=1), "succeeded")]


def test_the_lock_names_the_night(artifacts: Path, stage: Stage) -> None:
    held: list[str] = []

    def look(night: Night) -> StepOutcome:
        held.append((night_folder(artifacts) / ".lock").read_text())
        return StepOutcome()

    stage(merge=look)
    taken(artifacts, "merge")
    taken(artifacts, "merge", dry_run=True)
    assert json.loads(held[0])["run"] == MaintenanceRun.objects.get().pk
    assert "run" not in json.loads(held[1])


@ON_POSTGRES
def test_a_second_night_from_another_host_is_refused_in_the_database(artifacts: Path) -> None:
    me = f"process {os.getpid()} on {socket.gethostname()}"
    with night_lock(artifacts / "here"), pytest.raises(LockedError) as caught:
        taken(artifacts / "there")
    message = rf"database \w+: {re.escape(me)} \(since 20.+\) works in it; allowed is one night at a time"
    assert re.fullmatch(message, str(caught.value))
    assert not MaintenanceRun.objects.exists()


@ON_POSTGRES
def test_a_night_keeps_its_lock_where_a_step_loses_its_session(
    artifacts: Path, stage: Stage, transactional_db: None
) -> None:
    refused: list[str] = []

    def begin_another(night: Night) -> StepOutcome:
        with pytest.raises(LockedError) as caught, night_lock(artifacts / "there"):
            pass
        refused.append(str(caught.value))
        return StepOutcome()

    stage(merge=lose_the_session, retire=begin_another)
    report, _said = taken(artifacts / "here", "merge", "retire")
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert len(refused) == 1
    with night_lock(artifacts / "there"):
        pass


@ON_POSTGRES
def test_a_night_whose_lock_the_server_has_ended_goes_on(artifacts: Path, stage: Stage) -> None:
    def end_all_others(night: Night) -> StepOutcome:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return StepOutcome()

    stage(merge=end_all_others, retire=nothing)
    report, said = taken(artifacts, "merge", "retire")
    assert (report["status"], said) == ("succeeded", [])
    with night_lock(artifacts):
        pass


def test_a_second_night_is_refused(artifacts: Path) -> None:
    with night_lock(artifacts), pytest.raises(LockedError, match="works here; allowed is one night at a time"):
        taken(artifacts)
    assert not MaintenanceRun.objects.exists()
