"""Every part of the housekeeping is for itself; what a dry run counts, the real one does."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection

from maintenance.archive.files import archive_folder
from maintenance.config import NightlyConfig
from maintenance.housekeeping.backup import back_up
from maintenance.models import MaintenanceRun, MaintenanceStep, RowChange
from maintenance.night import Night, PartlyDoneError
from maintenance.nightly import NightOrder, run_night
from maintenance.steps import housekeeping as step
from maintenance.steps.housekeeping import housekeeping
from tests.maintenance import nights, training_runs
from training.artifacts import activate
from training.lock import folder_lock

NOW = datetime(2026, 6, 1, 3, 0, 0, tzinfo=UTC)
SUFFIX = "dump" if connection.vendor == "postgresql" else "sqlite3"
COUNTS = {
    "run_folders_removed": 3,
    "checkpoint_folders_removed": 0,
    "partials_removed": 0,
    "references_removed": 1,
    "reports_removed": 2,
    "backups": 1,
    "backups_removed": 2,
    "changes_removed": 2,
    "histories_removed": 0,
    "sessions_removed": 1,
}


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Artifacts with something to remove of every kind."""
    folder = tmp_path / "artifacts"
    for name in ("2025-05-31", "2025-05-31-2", "2025-06-01", "2026-05-31", "2025-05-31-notes", "backups"):
        (folder / "maintenance" / name).mkdir(parents=True)
        (folder / "maintenance" / name / "report.md").touch()
    for day in ("01", "02", "03"):
        (folder / "maintenance" / "backups" / f"202605{day}T030000Z.sqlite3").touch()
    (folder / "references").mkdir()
    return folder


def fill(artifacts: Path) -> None:
    """Store rows, runs and files that have outlived their use."""
    runs = [training_runs.run(artifacts / "lora", night=number) for number in range(5)]
    activate(artifacts / "lora" / runs[-1].folder_name)
    reference = artifacts / "references" / f"{'b' * 16}-{'c' * 16}-no.json"
    reference.write_text("{}")
    training_runs.age(reference, moment=NOW - timedelta(days=40))
    old = nights.run(started_at=NOW - timedelta(days=91))
    recent = nights.run(started_at=NOW - timedelta(days=89))
    for run in (old, old, recent):
        RowChange.objects.create(run=run, step="merge", table="memory.sftpair", row_id=1, after={})
    Session.objects.create(session_key="ended", session_data="", expire_date=NOW - timedelta(days=1))


def night(artifacts: Path, *, dry_run: bool = False, said: list[str] | None = None, **keys: Any) -> Night:
    settings = {"keep_runs": 2, "keep_backups": 2, **keys}
    found = nights.night("housekeeping", now=NOW, dry_run=dry_run, housekeeping=settings)
    lines = said if said is not None else []
    return replace(found, artifacts=artifacts, say=lines.append)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".lock")


@pytest.mark.django_db(transaction=True)
def test_everything_that_has_outlived_its_use_goes(artifacts: Path) -> None:
    fill(artifacts)
    outcome = housekeeping(night(artifacts))
    assert outcome.counts == COUNTS
    assert sorted(path.name for path in (artifacts / "maintenance").iterdir()) == [
        *("2025-05-31-notes", "2025-06-01", "2026-05-31", "backups")
    ]
    backups = sorted(path.name for path in (artifacts / "maintenance" / "backups").iterdir() if path.suffix != ".md")
    assert backups == ["20260503T030000Z.sqlite3", f"20260601T030000Z.{SUFFIX}"]
    assert list((artifacts / "references").iterdir()) == []
    assert len(list((artifacts / "lora").glob("run-*"))) == 2
    assert (RowChange.objects.count(), Session.objects.count()) == (1, 0)
    assert outcome.details["backup"]["path"].endswith(backups[-1])
    assert list(outcome.details) == ["run_folders", "references", "reports", "backup", "rows", "free_pages", "notes"]
    notes = " ".join(outcome.details["notes"])
    assert f"Backup: {artifacts}/maintenance/backups/{backups[-1]}, 0." in notes
    again = housekeeping(night(artifacts)).counts
    assert {name for name, count in again.items() if count} == {"backups"}


@pytest.mark.django_db
def test_a_dry_run_counts_the_same_and_touches_no_file(artifacts: Path) -> None:
    fill(artifacts)
    before = files(artifacts)
    assert housekeeping(night(artifacts, dry_run=True)).counts == COUNTS
    assert files(artifacts) == before


@pytest.mark.django_db
@pytest.mark.parametrize(("days", "steps", "partials"), [(30, "both", 0), (None, "both", 1), (30, "one", 1)])
def test_a_dry_run_counts_no_half_written_archive_file_that_the_export_would_have_removed(
    days: int | None, steps: str, partials: int, tmp_path: Path
) -> None:
    left = archive_folder(tmp_path) / ".pairs-1.jsonl.gz.partial"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    training_runs.age(left, moment=NOW - timedelta(days=5))
    order = NightOrder(
        config=NightlyConfig.model_validate({"retire": {"export_after_days": days}}),
        config_path=Path("nightly.yaml"),
        steps=["retire", "housekeeping"] if steps == "both" else ["housekeeping"],
        dry_run=True,
        artifacts=tmp_path,
        project=tmp_path,
    )
    counts = [
        run_night(replace(order, dry_run=dry_run), say=lambda line: None, now=NOW)["steps"]["housekeeping"]["counts"]
        for dry_run in (True, False)
    ]
    assert [each["partials_removed"] for each in counts] == [partials, partials]


@pytest.mark.django_db(transaction=True)
def test_the_backup_has_the_rows_that_go_after_it(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(artifacts)
    order: list[Any] = []

    def watched(folder: Path, *, now: datetime, using: str) -> Path:
        order.append((RowChange.objects.count(), Session.objects.count()))
        return back_up(folder, now=now, using=using)

    monkeypatch.setattr(step, "back_up", watched)
    housekeeping(night(artifacts))
    assert order == [(3, 1)]


def _full(*arguments: Any, **given: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def _broken(*arguments: Any, **given: Any) -> Any:
    raise DatabaseError("the database\nis locked")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "fall", "line", "missing"),
    [
        ("clear_run_folders", _full, "run_folders: [Errno 28] No space left on device", "run_folders_removed"),
        ("stale_references", _full, "references: [Errno 28] No space left on device", "references_removed"),
        ("back_up", _full, "backup: [Errno 28] No space left on device", "backups"),
        ("delete_old_changes", _broken, "rows: the database is locked", "changes_removed"),
        ("give_back", _broken, "free_pages: the database is locked", None),
    ],
)
def test_a_part_that_fails_is_named_and_keeps_no_other_from_its_work(
    artifacts: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fall: Callable[..., Any],
    line: str,
    missing: str | None,
) -> None:
    fill(artifacts)
    monkeypatch.setattr(step, name, fall)
    said: list[str] = []
    with pytest.raises(PartlyDoneError) as failure:
        housekeeping(night(artifacts, said=said))
    assert str(failure.value) == line
    assert said == [line]
    part = {
        "clear_run_folders": "run_folders_removed checkpoint_folders_removed partials_removed",
        "stale_references": "references_removed",
        "back_up": "backups backups_removed",
        "delete_old_changes": "changes_removed histories_removed sessions_removed",
        "give_back": "",
    }[name]
    assert failure.value.outcome.counts == {key: count for key, count in COUNTS.items() if key not in part.split()}
    assert failure.value.outcome.details["failed"] == [line]
    assert missing is None or missing not in failure.value.outcome.counts


@pytest.mark.django_db(transaction=True)
def test_a_backup_that_fails_leaves_the_older_ones(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(artifacts / "maintenance" / "backups")
    monkeypatch.setattr("maintenance.housekeeping.backup.os.fsync", _full)
    with pytest.raises(PartlyDoneError, match="No space left on device"):
        housekeeping(night(artifacts, keep_backups=1))
    assert files(artifacts / "maintenance" / "backups") == before


@pytest.mark.django_db(transaction=True)
def test_several_parts_that_fail_are_all_named(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "clear_run_folders", _full)
    monkeypatch.setattr(step, "give_back", _broken)
    with pytest.raises(PartlyDoneError, match=r"^run_folders: .*; free_pages: the database is locked$"):
        housekeeping(night(artifacts))


@pytest.mark.django_db(transaction=True)
def test_a_person_who_stops_it_stops_the_night(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "stale_references", stop)
    with pytest.raises(KeyboardInterrupt):
        housekeeping(night(artifacts))


@pytest.mark.django_db
def test_a_query_that_fails_in_a_dry_run_leaves_the_others_theirs(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL it would fail all that come after it in the transaction."""

    def fall(*arguments: Any, **given: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM nowhere")

    fill(artifacts)
    monkeypatch.setattr(step, "clear_run_folders", fall)
    with pytest.raises(PartlyDoneError, match="nowhere") as failure:
        housekeeping(night(artifacts, dry_run=True))
    assert failure.value.outcome.counts["sessions_removed"] == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("dry_run", [True, False])
def test_no_backup_is_made_where_the_config_says_so(artifacts: Path, dry_run: bool) -> None:
    before = files(artifacts)
    outcome = housekeeping(night(artifacts, dry_run=dry_run, keep_backups=0, keep_reports_days=9999))
    assert (outcome.counts["backups"], outcome.counts["backups_removed"]) == (0, 0)
    assert outcome.details["backup"]["note"] == "off in the config (housekeeping.keep_backups)"
    assert files(artifacts) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_missing_program_is_said_and_is_no_failure(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    monkeypatch.setattr(step, "missing_program", lambda *, using: "pg_dump")
    outcome = housekeeping(night(artifacts, dry_run=dry_run))
    assert (outcome.counts["backups"], outcome.counts["backups_removed"]) == (0, 0)
    assert outcome.details["backup"]["note"] == "skipped: pg_dump is not installed"
    assert "Backup: skipped: pg_dump is not installed." in outcome.details["notes"]


@pytest.mark.django_db
def test_a_folder_in_which_somebody_trains_is_no_failure(artifacts: Path) -> None:
    fill(artifacts)
    said: list[str] = []
    with folder_lock(artifacts / "lora"):
        outcome = housekeeping(night(artifacts, said=said, keep_backups=0))
    assert outcome.counts["run_folders_removed"] == 0
    assert any("trains here" in line and "they wait for the next night" in line for line in said)
    assert any(line.startswith("Run folders wait for the next night: ") for line in outcome.details["notes"])


@pytest.mark.django_db
def test_a_dry_run_of_a_whole_night_knows_of_the_run_that_training_would_add(artifacts: Path) -> None:
    fill(artifacts)
    given = night(artifacts, dry_run=True)
    MaintenanceStep.objects.create(
        run=given.run, name="train", counts={"runs": 1}, details={"root": str(artifacts / "lora")}
    )
    assert housekeeping(given).counts["run_folders_removed"] == COUNTS["run_folders_removed"] + 1


@pytest.mark.django_db
def test_links_among_the_reports_are_not_followed(artifacts: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (artifacts / "maintenance" / "2020-01-01").symlink_to(outside)
    assert housekeeping(night(artifacts, keep_backups=0)).counts["reports_removed"] == 2
    assert outside.is_dir()


@pytest.mark.django_db(transaction=True)
def test_artifacts_that_are_not_there_yet_are_no_failure(tmp_path: Path) -> None:
    outcome = housekeeping(night(tmp_path / "artifacts"))
    assert {name for name, count in outcome.counts.items() if count} == {"backups"}


@pytest.mark.django_db(transaction=True)
def test_a_night_records_what_was_done_beside_what_failed(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(artifacts)
    monkeypatch.setattr(step, "give_back", _broken)
    config = night(artifacts).config
    order = NightOrder(
        config=config,
        config_path=Path("nightly.yaml"),
        steps=["housekeeping"],
        dry_run=False,
        artifacts=artifacts,
        project=artifacts.parent,
    )
    report: Mapping[str, Any] = run_night(order, say=lambda line: None, now=NOW)
    found = report["steps"]["housekeeping"]
    assert (found["status"], found["error"]) == ("failed", "free_pages: the database is locked")
    assert found["counts"] == COUNTS
    row = MaintenanceRun.objects.get(pk=report["run"]).steps.get()
    assert row.details["failed"] == ["free_pages: the database is locked"]
