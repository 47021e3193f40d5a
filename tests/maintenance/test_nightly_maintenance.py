"""`manage.py nightly_maintenance`, as cron or a person calls it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django.fixtures import Settings

from maintenance.models import MaintenanceRun
from maintenance.night import Night, StepOutcome
from maintenance.nightly import night_folder, night_lock
from maintenance.steps import STEPS
from tests.maintenance.conftest import Place, Stage
from tests.maintenance.staged import LARGEST_FILE, PRAGMAS, TIMEOUT
from tests.maintenance.staging import fall, nothing
from training.lock import LOCK_FILE

CONFIG = Path("config/maintenance/nightly.yaml").resolve()


def called(*arguments: object) -> tuple[int, str, str]:
    """Call the command; return exit code, output, error."""
    out = StringIO()
    try:
        call_command("nightly_maintenance", *map(str, arguments), stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue(), ""
    return 0, out.getvalue(), ""


@pytest.fixture
def artifacts(tmp_path: Path, settings: Settings, stage: Stage) -> Path:
    """Return an empty artifacts folder; no step does anything."""
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    stage(**dict.fromkeys(STEPS, nothing))
    return tmp_path / "artifacts"


@pytest.mark.django_db
def test_json_is_one_object_with_the_promised_keys(artifacts: Path) -> None:
    code, out, _ = called("--json")
    report = json.loads(out)
    assert code == 0
    assert list(report) == ["run", "status", "steps", "report"]
    assert list(report["steps"]) == list(STEPS)
    assert {tuple(step) for step in report["steps"].values()} == {
        ("status", "seconds", "peak_rss_mb", "counts", "error")
    }
    assert report["run"] == MaintenanceRun.objects.get().pk
    assert MaintenanceRun.objects.get().config_path == "config/maintenance/nightly.yaml"


@pytest.mark.django_db
def test_the_config_is_the_one_that_the_machine_names(artifacts: Path, settings: Settings, tmp_path: Path) -> None:
    settings.NIGHTLY_CONFIG = tmp_path / "own.yaml"
    settings.NIGHTLY_CONFIG.write_text("reemit: {budget: 7}")
    assert called("--json")[0] == 0
    assert MaintenanceRun.objects.get().config["reemit"]["budget"] == 7


@pytest.mark.django_db
def test_the_table_tells_what_each_step_did(artifacts: Path, stage: Stage) -> None:
    stage(merge=lambda night: StepOutcome({"sft_merged": 1234, "groups": 0}), retire=fall)
    code, out, _ = called("--only", "merge", "retire", "extract")
    assert code == 2
    assert f"Night {MaintenanceRun.objects.get().pk}" in out
    assert "1,234 sft merged" in out
    assert "groups" not in out
    assert "nothing to do" in out
    assert "fell" in out
    assert f"Morning report: {MaintenanceRun.objects.get().report}" in out


@pytest.mark.django_db
def test_a_step_that_fails_is_said_in_one_line(
    artifacts: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(merge=fall)
    assert called("--json")[0] == 2
    assert capsys.readouterr().err == "merge: fell over\n"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), list(STEPS)),
        (("--only", "retire", "merge"), ["merge", "retire"]),
        (("--only", "retire", "--only", "merge"), ["merge", "retire"]),
        (("--skip", *STEPS[2:]), ["extract", "embed"]),
        (("--only", "merge", "retire", "--skip", "merge"), ["retire"]),
    ],
)
def test_steps_are_chosen_by_name(arguments: tuple[str, ...], expected: list[str], artifacts: Path) -> None:
    assert list(json.loads(called("--json", *arguments)[1])["steps"]) == expected


@pytest.mark.django_db
@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_a_step_that_is_none_is_refused(option: str, artifacts: Path) -> None:
    code, out, error = called(option, "merge", "marge")
    assert (code, out) == (1, "")
    assert error == f"{option}: got marge, allowed are {', '.join(STEPS)}"
    assert not MaintenanceRun.objects.exists()


@pytest.mark.django_db
def test_a_database_that_is_not_migrated_is_refused_with_what_to_do(artifacts: Path) -> None:
    MigrationRecorder(connection).record_unapplied("maintenance", "0001_initial")
    assert called() == (1, "", "migrations are not applied; run `manage.py migrate`")
    assert not MaintenanceRun.objects.exists()


@pytest.mark.django_db
def test_values_are_put_over_those_of_the_config(artifacts: Path, stage: Stage) -> None:
    budgets: list[int] = []

    def look(night: Night) -> StepOutcome:
        budgets.append(night.config.reemit.budget)
        return StepOutcome()

    stage(reemit=look)
    called("--only", "reemit")
    called("--only", "reemit", "--set", "reemit.budget=7")
    assert budgets == [100, 7]
    assert MaintenanceRun.objects.latest("pk").config["reemit"]["budget"] == 7


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--set", "reemit.budget=-1", "--set", "merge.threshold=0.9"), ["reemit.budget", "merge.threshold"]),
        (("--config", "missing.yaml"), ["missing.yaml"]),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(arguments: tuple[str, ...], parts: list[str], artifacts: Path) -> None:
    code, out, error = called(*arguments)
    assert (code, out) == (1, "")
    assert [part for part in parts if part not in error] == []
    assert not MaintenanceRun.objects.exists()
    assert not artifacts.exists()


@pytest.mark.django_db
def test_a_stopped_night_says_how_it_goes_on(artifacts: Path, stage: Stage) -> None:
    def stop(night: Night) -> StepOutcome:
        raise KeyboardInterrupt

    stage(merge=stop)
    assert called() == (130, "", "stopped; the next night goes on from here")


@pytest.mark.django_db
def test_a_night_that_is_locked_out_names_who_holds_the_lock(artifacts: Path) -> None:
    with night_lock(artifacts) as lock:
        lock.name_run(7)
        code, out, error = called()
    assert (code, out) == (4, "")
    assert error.startswith(f"{night_folder(artifacts)}: process {os.getpid()} on {socket.gethostname()} (since 20")
    assert error.endswith(", run 7) works here; allowed is one night at a time")


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is for one host")
def test_a_night_that_works_from_another_host_locks_this_one_out(artifacts: Path, tmp_path: Path) -> None:
    with night_lock(tmp_path / "there"):
        code, out, error = called()
    assert (code, out) == (4, "")
    assert f"process {os.getpid()} on {socket.gethostname()} (since 20" in error
    assert error.endswith(" works in it; allowed is one night at a time")


@pytest.mark.django_db
@pytest.mark.parametrize("in_its_place", ["artifacts", "artifacts/maintenance"])
def test_a_file_where_the_artifacts_should_be_is_said_in_a_line(in_its_place: str, artifacts: Path) -> None:
    path = artifacts.parent / in_its_place
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a folder")
    code, out, error = called()
    assert (code, out) == (2, "")
    assert error.startswith("the night could not begin or end: [Errno ")
    assert not MaintenanceRun.objects.exists()


# From here on with processes and files of their own, as at night.


@pytest.fixture
def place(migrated: Path, tmp_path: Path) -> Place:
    """Return a database with three pairs, for processes to work in."""
    found = Place(tmp_path)
    shutil.copy(migrated, found.database)
    with closing(sqlite3.connect(found.database)) as connection, connection:
        for number in range(3):
            connection.execute(
                "INSERT INTO memory_sftpair (instruction, response, content_hash, created_at, context, source,"
                " category, confidence, sampling_weight, reward_intensity, review_status, metadata, is_used)"
                " VALUES (?, 'Pixel.', ?, '2026-01-01', '[]', 'import', '', 1, 1, 0.5, 'pending', '{}', 0)",
                (f"What is dog {number} called?", str(number)),
            )
    return found


def dumped(place: Place) -> list[str]:
    with closing(sqlite3.connect(place.database)) as connection:
        return list(connection.iterdump())


def states(place: Place) -> list[tuple[Any, ...]]:
    """Return the status and the error of each night and, after them, of each step."""
    with closing(sqlite3.connect(place.database)) as connection:
        return [
            *connection.execute("SELECT status, error FROM maintenance_maintenancerun ORDER BY id"),
            *connection.execute("SELECT name, status, error FROM maintenance_maintenancestep ORDER BY id"),
        ]


def artifacts_of(place: Place) -> list[str]:
    found = [path for path in place.artifacts.rglob("*") if path.name != LOCK_FILE]
    return sorted(str(path.relative_to(place.artifacts)) for path in found)


NIGHT = ("nightly_maintenance", "--config", CONFIG)


def test_a_dry_run_on_a_copy_changes_nothing_and_counts_what_the_real_run_does(place: Place) -> None:
    before = dumped(place)
    acts = ("merge=fall", "retire=archive_all")
    code, out, err = place.call(*NIGHT, "--dry-run", "--json", acts=acts)
    rehearsed = json.loads(out)
    assert (code, err) == (2, "merge: fell over\n")
    assert (rehearsed["run"], rehearsed["report"], rehearsed["status"]) == (None, None, "failed")
    assert dumped(place) == before
    assert artifacts_of(place) == ["maintenance"]
    real = json.loads(place.call(*NIGHT, "--json", acts=acts)[1])
    assert real["run"] == 1
    assert dumped(place) != before
    counts = [{name: step["counts"] for name, step in report["steps"].items()} for report in (rehearsed, real)]
    assert counts[0] == counts[1]
    assert counts[0]["retire"] == {"archived": 3}


@pytest.mark.slow
def test_two_nights_at_once_are_one(place: Place) -> None:
    with place.start(*NIGHT, acts=["merge=sleep"]) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "asleep\n"
        code, out, err = place.call(*NIGHT, acts=["retire=archive_all"])
        assert (code, out) == (4, "")
        assert f"process {first.pid} on {socket.gethostname()} (since 20" in err
        assert err.endswith(", run 1) works here; allowed is one night at a time\n")
        assert "Traceback" not in err
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert said == "CommandError: stopped; the next night goes on from here\n"
    assert states(place) == [
        ("interrupted", "stopped by a person"),
        *[("extract", "succeeded", ""), ("embed", "succeeded", ""), ("merge", "interrupted", "terminated")],
    ]


@pytest.mark.slow
def test_a_night_that_was_killed_is_closed_by_the_next_which_goes_on(place: Place) -> None:
    with place.start(*NIGHT, "--only", "merge", acts=["merge=sleep"]) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "asleep\n"
        first.kill()
    assert states(place) == [("running", ""), ("merge", "running", "")]
    assert place.call(*NIGHT, "--only", "retire", acts=["retire=archive_all"])[0] == 0
    died = "the process ended without a word"
    assert states(place) == [
        *[("interrupted", died), ("succeeded", "")],
        *[("merge", "interrupted", died), ("retire", "succeeded", "")],
    ]


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the lock for writing, as another process does in a long transaction."""
    with closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.slow
def test_a_database_that_stays_locked_ends_the_night_with_a_line(place: Place) -> None:
    place.environment[TIMEOUT] = "0.2"
    with locked(place):
        code, out, err = place.call(*NIGHT, acts=["retire=archive_all"])
    assert (code, out) == (2, "")
    assert err == "CommandError: the night could not begin or end: database is locked\n"
    assert states(place) == []
    assert place.call(*NIGHT, acts=["retire=archive_all"])[0] == 0


@pytest.mark.slow
def test_a_database_that_is_locked_during_a_step_fails_that_step(place: Place) -> None:
    place.environment[TIMEOUT] = "0.2"
    code, _, err = place.call(*NIGHT, "--only", "merge", "retire", acts=["merge=wait_for_a_lock", "retire=archive_all"])
    assert (code, err) == (2, "merge: database is locked\n")
    assert states(place) == [("failed", ""), ("merge", "failed", "database is locked"), ("retire", "succeeded", "")]


def test_a_database_that_is_read_only_ends_the_night_with_a_line(place: Place) -> None:
    place.environment[PRAGMAS] = "PRAGMA query_only = ON"
    code, out, err = place.call(*NIGHT)
    assert (code, out) == (2, "")
    assert err == "CommandError: the night could not begin or end: attempt to write a readonly database\n"


@pytest.mark.slow
def test_a_database_that_is_full_fails_the_step_and_the_next_night_goes_on(place: Place) -> None:
    with closing(sqlite3.connect(place.database)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    place.environment[PRAGMAS] = f"PRAGMA max_page_count = {pages + 20}"
    code, _, err = place.call(*NIGHT, "--only", "merge", "retire", acts=["merge=fill", "retire=nothing"])
    assert code == 2
    assert "merge: database or disk is full\n" in err
    assert "Traceback" not in err
    del place.environment[PRAGMAS]
    assert place.call(*NIGHT, "--only", "retire", acts=["retire=archive_all"])[0] == 0
    with closing(sqlite3.connect(place.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM memory_sftpair WHERE archived_at IS NOT NULL").fetchone() == (
            3,
        )
    assert [state[0] for state in states(place)[:2]] == ["failed", "succeeded"]


def test_a_database_in_a_missing_folder_ends_the_night_with_a_line(place: Place) -> None:
    place.environment["DATABASE_URL"] = f"sqlite:///{place.database.parent}/missing/rows.sqlite3"
    code, out, err = place.call(*NIGHT)
    assert (code, out) == (2, "")
    assert err == "CommandError: the night could not begin or end: unable to open database file\n"


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_database_without_tables_ends_the_night_with_a_line(arguments: tuple[str, ...], place: Place) -> None:
    place.database.unlink()
    code, out, err = place.call(*NIGHT, *arguments)
    assert (code, out) == (1, "")
    assert err == "CommandError: migrations are not applied; run `manage.py migrate`\n"
    assert err.count("\n") == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL takes no copy")
@pytest.mark.django_db(transaction=True)
def test_a_dry_run_whose_copy_would_not_fit_says_how_much_room_it_needs(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 10**3, 10**3))
    code, out, error = called("--dry-run")
    assert (code, out) == (2, "")
    room = rf"{night_folder(artifacts)}: got 0 MB free, needed are [1-9]\d* MB for the copy that a dry run works on"
    assert re.fullmatch(f"the night could not begin or end: {room}", error)
    assert [path.name for path in night_folder(artifacts).iterdir()] == [LOCK_FILE]


@pytest.mark.slow
def test_a_full_disk_ends_a_dry_run_with_a_line(place: Place) -> None:
    place.environment[LARGEST_FILE] = "200000"
    code, out, err = place.call(*NIGHT, "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith("CommandError: the night could not begin or end: ")
    assert artifacts_of(place) == ["maintenance"]
