"""Files into the database, batch by batch, each batch in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from memory.importers.detect import AUTO, Recognised, recognise
from memory.importers.reading import read
from memory.importers.records import (
    CutOff,
    Parsed,
    ParsedConversation,
    ParsedFeedback,
    Skipped,
    UnreadableFileError,
)
from memory.importing.batches import Storable, database, store_batch
from memory.importing.reports import Counts, FileReport, ImportReport
from memory.importing.rows import span
from memory.models import ImportBatch

# Rows of a transaction: enough to make its cost small, few enough to stay small in memory.
BATCH_ROWS = 2_000
MAX_PATH_LENGTH = MAX_ERROR_LENGTH = 1024
_COUNTED = ("conversations", "messages", "preference_pairs", "already_present")

# Called with a file, the position in it and its size, both in bytes.
OnProgress = Callable[[Path, int, int], None]


def import_paths(
    paths: Sequence[Path],
    *,
    format: str = AUTO,  # noqa: A002 - the word of the command line
    since: datetime | None = None,
    dry_run: bool = False,
    strict: bool = False,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Import files, and of folders the files that are exports; files that hold nothing but ratings come last.

    Conversations last updated before `since` are left out; those without a date are not. With `dry_run` all is done
    and then undone. With `strict` any damage in any file undoes all, and the counts are 0. Without, a file that
    cannot be read costs only itself, and of a damaged one everything that is whole is kept.
    """
    report = ImportReport()
    found = _recognised(paths, format, report)
    as_one = dry_run or strict
    with transaction.atomic(using=database()) if as_one else nullcontext():
        for file in sorted(found, key=lambda each: each.only_ratings):
            report.files.append(_import_file(file, since=since, on_progress=on_progress))
        is_refused = strict and report.is_damaged
        if dry_run or is_refused:
            transaction.set_rollback(True, using=database())
    if is_refused:
        for each in report.files:
            each.counts = Counts()
    return report


def _recognised(paths: Iterable[Path], format: str, report: ImportReport) -> list[Recognised]:  # noqa: A002
    """Return the files to import; what is none goes into the report: as an error if it was named, else aside."""
    found: list[Recognised] = []
    passed_over: list[str] = []
    for path in paths:
        is_folder = path.is_dir()
        inside = []
        for file in sorted(each for each in path.iterdir() if each.is_file()) if is_folder else [path]:
            try:
                inside.append(recognise(file, format))
            except UnreadableFileError as error:
                if is_folder:
                    passed_over.append(f"{file}: {error}")
                else:
                    report.files.append(FileReport(str(path), error=str(error)))
        if is_folder and not inside:
            report.files.append(FileReport(str(path), error="is a folder without a file of a known format"))
        found += inside
    report.passed_over = passed_over
    return found


def _import_file(file: Recognised, *, since: datetime | None, on_progress: OnProgress | None) -> FileReport:
    importing = _Importing(file, since)
    size = file.path.stat().st_size
    for record in read(file, on_progress and (lambda position: on_progress(file.path, position, size))):
        importing.take(record)
    importing.finish()
    return importing.report


@dataclass(slots=True)
class _Importing:
    """One file on its way into the database."""

    file: Recognised
    since: datetime | None
    now: datetime = field(default_factory=timezone.now)
    report: FileReport = field(init=False)
    _batch: ImportBatch = field(init=False)
    _waiting: list[Storable] = field(default_factory=list)
    _rows: int = 0

    def __post_init__(self) -> None:
        self.report = FileReport(str(self.file.path), self.file.format)
        self._batch = ImportBatch(
            path=str(self.file.path)[-MAX_PATH_LENGTH:], format=self.file.format, imported_at=self.now
        )

    def take(self, record: Parsed) -> None:
        """Take in one record; store what waits once it is a batch."""
        if isinstance(record, Skipped):
            self.report.skipped.append(record)
        elif isinstance(record, CutOff):
            self.report.cut_offs.append(record)
        elif self.since is not None and _is_older(record, self.since):
            self.report.counts.left_out += 1
        else:
            self._waiting.append(record)
            self._rows += len(record.messages) if isinstance(record, ParsedConversation) else 1
            if self._rows >= BATCH_ROWS:
                self._store()

    def finish(self) -> None:
        """Store what waits, and how the file ended."""
        with transaction.atomic(using=database()):
            self._store()
            self._batch.skipped = self.report.as_json()["skipped"]
            self._batch.error = self.report.damage()[:MAX_ERROR_LENGTH]
            if self.report.cut_offs:
                self._batch.status = ImportBatch.Status.CUT_OFF
            self._batch.save(update_fields=["skipped", "error", "status"])

    def _store(self) -> None:
        """Store what waits; the record of the import grows in the same transaction."""
        with transaction.atomic(using=database()):
            if self._batch.pk is None:
                self._batch.save()
            outcome = store_batch(self._waiting, import_batch_id=self._batch.pk, now=self.now)
            self.report.counts.add(outcome.counts)
            self.report.skipped += outcome.skipped
            for name in _COUNTED:
                setattr(self._batch, name, getattr(self.report.counts, name))
            self._batch.save(update_fields=_COUNTED)
        self._waiting.clear()
        self._rows = 0


def _is_older(record: Storable, since: datetime) -> bool:
    """Return whether a record that has a date is older than `since`."""
    moment = None
    if isinstance(record, ParsedConversation):
        moment = span(record)[1]
    elif not isinstance(record, ParsedFeedback):
        moment = record.created_at
    return moment is not None and moment < since
