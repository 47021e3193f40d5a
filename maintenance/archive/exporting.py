"""Pairs that have been archived for long leave the database for files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.db import models
from django.db.models import Exists, OuterRef
from django.utils import timezone

from maintenance.archive.files import (
    SUFFIX,
    ArchiveError,
    Manifest,
    archive_folder,
    check_bytes,
    check_content,
    finished_files,
    leftovers,
    read_manifest,
    records_of,
    stored_path,
    write_archive,
)
from maintenance.archive.order import complete_groups, whole_files
from maintenance.archive.records import CHANNELS, Channel, Record, read_records
from maintenance.archive.removing import Kept, Removal, remove_pairs
from maintenance.models import ArchiveFile
from maintenance.night import Night
from memory.models import ExportedPair, PreferencePair, SftPair
from training.models import PairUse, TrainingRun

PAIRS_PER_FILE = 5_000
# Pairs whose rows are in memory at once.
_PAIRS_PER_READ = 250
_NAMED = 3

Key = tuple[str, int]


@dataclass(slots=True)
class Export:
    """What an export came to, also where it ends early.

    Attributes:
        exported: pairs that left the database, by channel.
        files: names of the files that were written.
        kept: pairs that are in a file and stay in the database all the same.
        problems: what is wrong with files of earlier nights: damaged, not to be read, not there; in lines.
        missing: names of files on record that are not on the disk, and from which no night has finished removing pairs.

    """

    exported: Counter[str] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, removal: Removal) -> None:
        """Count what left the database."""
        self.exported += removal.removed
        self.kept += removal.kept


def check_files(night: Night, export: Export) -> None:
    """Compare the files of earlier nights with their checksums; write what is wrong into `export`.

    They are the only copies of their pairs, so that a damage has to be known while there is a backup without it.
    """
    lost: list[str] = []
    exported = ArchiveFile.objects.using(night.using).filter(removed_at__isnull=False, restored_at__isnull=True)
    for archive_file in exported.order_by("pk"):
        path = night.artifacts / archive_file.path
        if not path.is_file():
            lost.append(path.name)
            continue
        try:
            read_manifest(path)
            check_bytes(path, archive_file.sha256)
        except (ArchiveError, OSError) as error:
            _tell(error, night, export)
    if lost:
        _tell(ArchiveError(missing_files(lost)), night, export)


def missing_files(names: Sequence[str]) -> str:
    """Return a line about files that are not on the disk; of many, as of a disk that is not there, the first names."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"Archive files that are not there any more: {', '.join(names[:_NAMED])}{more}."


def export_pairs(night: Night, export: Export, *, before: datetime) -> None:
    """Move the pairs that were archived at or before `before` into files; write what was done into `export`.

    A file is on the disk, whole and read back, before the first of its pairs is deleted. What a killed night left is
    completed first: files without a manifest go, and pairs that a finished file holds are deleted rather than exported
    again. A pair that was restored stays in the database as long as one that was archived then. A dry run writes no
    file, and takes the pairs from a database that vanishes.

    Raises:
        OSError: the disk does not take a file; its pairs stay where they are.
        ArchiveError: what was read back is not what was written; likewise.

    """
    folder = archive_folder(night.artifacts)
    if not night.dry_run:
        _clear(folder, night)
    _finish(folder, night, export)
    files = list(whole_files(_groups(before, using=night.using), pairs=PAIRS_PER_FILE))
    for number, keys in enumerate(files):
        night.progress("exporting", number / len(files))
        path = _new_path(folder, night, len(export.files) + 1)
        records = _records(keys, before, using=night.using)
        if night.dry_run:
            removal = remove_pairs(records, file=path.name, using=night.using)
            written = bool(removal.removed.total() or removal.kept)
        else:
            manifest = write_archive(path, records, created=night.now, using=night.using)
            written = manifest is not None
            removal = _remove(path, _noted(path, manifest, night), night) if manifest is not None else Removal()
        export.files += [path.name] if written else []
        export.add(removal)


def eligible_pairs(channel: Channel, before: datetime, *, using: str) -> models.QuerySet[SftPair | PreferencePair]:
    """Return the pairs that may leave the database: archived for long, not just restored, and in no unfinished run.

    A run that fails yet sets its pairs free, and those in a file would not hear of it.
    """
    unfinished = PairUse.objects.filter(
        **{channel.link: OuterRef("pk")},
        run__status__in=[TrainingRun.Status.RUNNING, TrainingRun.Status.INTERRUPTED],
    )
    restored = ExportedPair.objects.filter(channel=channel.name, pair_id=OuterRef("pk"), restored_at__gt=before)
    pairs: models.QuerySet[SftPair | PreferencePair] = channel.model._default_manager.using(using)
    return pairs.filter(~Exists(unfinished), ~Exists(restored), archived_at__lte=before)


def _clear(folder: Path, night: Night) -> None:
    """Remove what a process that died left of files that it had not finished."""
    known = {Path(path).name for path in ArchiveFile.objects.using(night.using).values_list("path", flat=True)}
    for path in leftovers(folder):
        if path.name not in known:
            path.unlink()


def _finish(folder: Path, night: Night, export: Export) -> None:
    """Take the pairs out of the database that finished files of earlier nights hold."""
    files = ArchiveFile.objects.using(night.using)
    known = set(files.values_list("path", flat=True))
    for path in finished_files(folder):
        if stored_path(path) not in known:
            try:
                manifest = read_manifest(path)
                check_content(path, manifest)
            except (ArchiveError, OSError) as error:
                _tell(error, night, export)
            else:
                _noted(path, manifest, night)
    for archive_file in files.filter(removed_at__isnull=True, restored_at__isnull=True).order_by("pk"):
        path = night.artifacts / archive_file.path
        if not path.is_file():
            export.missing.append(path.name)
            continue
        try:
            check_content(path, read_manifest(path))
        except (ArchiveError, OSError) as error:
            _tell(error, night, export)
        else:
            export.add(_remove(path, archive_file, night))


def _tell(error: Exception, night: Night, export: Export) -> None:
    night.say(str(error))
    export.problems.append(str(error))


def _groups(before: datetime, *, using: str) -> Iterator[list[Key]]:
    """Yield the pairs that may go, those that belong together in one list."""
    for channel in CHANNELS.values():
        links = dict(eligible_pairs(channel, before, using=using).order_by().values_list("pk", "merged_into_id"))
        merged = channel.model.objects.using(using).filter(merged_into__archived_at__lte=before)
        staying = [into for pk, into in merged.values_list("pk", "merged_into_id") if pk not in links]
        for group in complete_groups(links, staying):
            yield [(channel.name, key) for key in group]


def _records(keys: Sequence[Key], before: datetime, *, using: str) -> Iterator[Record]:
    """Yield the records of pairs that may still go, as a person may have taken one out of the archive since."""
    for channel in CHANNELS.values():
        wanted = [key for name, key in keys if name == channel.name]
        for start in range(0, len(wanted), _PAIRS_PER_READ):
            among = eligible_pairs(channel, before, using=using)
            yield from read_records(channel, wanted[start : start + _PAIRS_PER_READ], among=among, using=using)


def _new_path(folder: Path, night: Night, number: int) -> Path:
    """Return a path that no file has, not even one of another database with a night of this number."""
    stem = f"pairs-{night.now.astimezone(UTC):%Y%m%dT%H%M%SZ}-night{night.run.pk}"
    while (path := folder / f"{stem}-{number}{SUFFIX}").exists():
        number += 1
    return path


def _noted(path: Path, manifest: Manifest, night: Night) -> ArchiveFile:
    return ArchiveFile.objects.using(night.using).create(
        run=night.run,
        path=stored_path(path),
        sha256=manifest.sha256,
        sft_pairs=manifest.sft_pairs,
        preference_pairs=manifest.preference_pairs,
        created_at=manifest.created,
    )


def _remove(path: Path, archive_file: ArchiveFile, night: Night) -> Removal:
    removal = remove_pairs(records_of(path), file=path.name, using=night.using)
    archive_file.removed_at = timezone.now()
    archive_file.save(update_fields=["removed_at"], using=night.using)
    return removal
