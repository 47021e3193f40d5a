"""Disk and database, kept in order."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import connections

from maintenance.archive.files import archive_folder, leftovers
from maintenance.housekeeping.backup import back_up, backup_folder, missing_program, old_backups
from maintenance.housekeeping.expired_rows import delete_ended_sessions, delete_old_changes, delete_old_histories
from maintenance.housekeeping.free_pages import give_back
from maintenance.housekeeping.run_folders import clear_run_folders
from maintenance.housekeeping.stored_references import stale_references
from maintenance.models import MaintenanceStep
from maintenance.night import Night, PartlyDoneError, StepOutcome

_REPORT = re.compile(r"\d{4}-\d{2}-\d{2}(-\d+)?")


@dataclass(slots=True)
class _Part:
    """What a part did: counts that a dry run knows too, and what else there is to tell."""

    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def housekeeping(night: Night) -> StepOutcome:
    """Remove what is not needed any more, back the database up, give free pages back.

    Each part is for itself: one that fails keeps no other from its work, and the step fails in the end. The backup
    comes before the rows go, so that it has them.

    Raises:
        PartlyDoneError: a part failed; names it, and has what the others did.

    """
    counts: dict[str, int] = {}
    details: dict[str, Any] = {}
    failed: list[str] = []
    first: Exception | None = None
    for number, (name, take) in enumerate(_PARTS.items()):
        night.progress(name.replace("_", " "), number / len(_PARTS))
        try:
            with night.isolated():
                part = take(night, details)
        except Exception as error:
            first = first or error
            failed.append(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
            night.say(failed[-1])
            continue
        counts |= part.counts
        details[name] = part.details
    details["notes"] = list(_notes(details))
    if failed:
        details["failed"] = failed
        raise PartlyDoneError("; ".join(failed), StepOutcome(counts, details)) from first
    return StepOutcome(counts, details)


def _run_folders(night: Night, done: Mapping[str, Any]) -> _Part:
    """Remove what training left: see `maintenance.housekeeping.run_folders`."""
    found = clear_run_folders(
        night.artifacts,
        keep_runs=night.config.housekeeping.keep_runs,
        now=night.now,
        using=night.using,
        expected=_expected_root(night),
        cleared=_cleared_files(night),
        dry_run=night.dry_run,
    )
    for line in found.locked:
        night.say(f"run folders: {line}; they wait for the next night")
    return _Part(
        {
            "run_folders_removed": found.runs,
            "checkpoint_folders_removed": found.work,
            "partials_removed": found.partials,
        },
        {"removed": found.names, "freed_mb": round(found.size_bytes / 1e6, 3), "locked": found.locked},
    )


def _references(night: Night, done: Mapping[str, Any]) -> _Part:
    # What a dry run would have removed is there still.
    going = done.get("run_folders", {}).get("removed", [])
    stale = stale_references(night.artifacts, going=going, now=night.now)
    size = sum(path.stat().st_size for path in stale)
    if not night.dry_run:
        for path in stale:
            path.unlink()
    return _Part({"references_removed": len(stale)}, {"freed_mb": round(size / 1e6, 3)})


def _reports(night: Night, done: Mapping[str, Any]) -> _Part:
    """Remove the morning reports of nights long past, by the day in their names."""
    before = f"{night.now - timedelta(days=night.config.housekeeping.keep_reports_days):%Y-%m-%d}"
    folder = night.artifacts / "maintenance"
    old = [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if _REPORT.fullmatch(path.name) and path.name[:10] < before and path.is_dir() and not path.is_symlink()
    ]
    if not night.dry_run:
        for path in old:
            shutil.rmtree(path)
    return _Part({"reports_removed": len(old)})


def _backup(night: Night, done: Mapping[str, Any]) -> _Part:
    """Back the database up; older backups go only once the new one is verified."""
    keep, folder = night.config.housekeeping.keep_backups, backup_folder(night.artifacts)
    if not keep:
        return _Part({"backups": 0, "backups_removed": 0}, {"note": "off in the config (housekeeping.keep_backups)"})
    if program := missing_program(using=night.using):
        return _Part({"backups": 0, "backups_removed": 0}, {"note": f"skipped: {program} is not installed"})
    if night.dry_run:
        return _Part({"backups": 1, "backups_removed": len(old_backups(folder, keep=keep, newest=""))})
    made = back_up(folder, now=night.now, using=night.using)
    old = old_backups(folder, keep=keep, newest=made.name)
    for path in old:
        path.unlink()
    return _Part(
        {"backups": 1, "backups_removed": len(old)},
        {"path": str(made), "size_mb": round(made.stat().st_size / 1e6, 3)},
    )


def _rows(night: Night, done: Mapping[str, Any]) -> _Part:
    """Delete rows that have outlived their use: see `maintenance.housekeeping.expired_rows`."""
    days, now, using = night.config.housekeeping.keep_changes_days, night.now, night.using
    return _Part(
        {
            "changes_removed": delete_old_changes(keep_days=days, now=now, using=using),
            "histories_removed": delete_old_histories(keep_days=days, now=now, using=using),
            "sessions_removed": delete_ended_sessions(now=now, using=using),
        }
    )


def _free_pages(night: Night, done: Mapping[str, Any]) -> _Part:
    if night.dry_run or connections[night.using].in_atomic_block:
        return _Part(details={"note": "skipped: inside a transaction" if not night.dry_run else "not in a dry run"})
    found = give_back(seconds=night.config.housekeeping.vacuum_seconds, using=night.using)
    if found["note"]:
        night.say(f"database: {found['note']}")
    return _Part(details=found)


# In their order, each named by its key among the step's details.
_PARTS: Mapping[str, Callable[[Night, Mapping[str, Any]], _Part]] = {
    "run_folders": _run_folders,
    "references": _references,
    "reports": _reports,
    "backup": _backup,
    "rows": _rows,
    "free_pages": _free_pages,
}


def _notes(details: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the report says in words of the parts that came to their ends."""
    freed = sum(part.get("freed_mb", 0.0) for part in details.values())
    if freed:
        yield f"{freed:,.1f} MB went back to the disk."
    for line in details.get("run_folders", {}).get("locked", ()):
        yield f"Run folders wait for the next night: {line}."
    if path := details.get("backup", {}).get("path"):
        yield f"Backup: {path}, {details['backup']['size_mb']:,.1f} MB."
    for name in ("backup", "free_pages"):
        if note := details.get(name, {}).get("note"):
            yield f"{name.replace('_', ' ').capitalize()}: {note}."


def _expected_root(night: Night) -> Path | None:
    """Return the folder that the night's training would have given a run, had it not been a dry run."""
    if not night.dry_run:
        return None
    step = MaintenanceStep.objects.using(night.using).filter(run=night.run, name="train").first()
    return Path(step.details["root"]) if step is not None and step.counts.get("runs") else None


def _cleared_files(night: Night) -> list[Path]:
    """Return what the night's export would have removed from the archive, had it not been a dry run."""
    if not night.dry_run or night.config.retire.export_after_days is None:
        return []
    exported = MaintenanceStep.objects.using(night.using).filter(run=night.run, name="retire").exists()
    return leftovers(archive_folder(night.artifacts)) if exported else []
