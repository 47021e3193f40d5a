"""The archive files there are, of the database and of the disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from django.db.models import Count

from maintenance.archive.files import ArchiveError, archive_folder, finished_files, read_manifest, stored_path
from maintenance.models import ArchiveFile
from memory.models import ExportedPair

State = Literal["ready", "missing", "unknown to the database"]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """An archive file.

    Attributes:
        file: its name.
        night: number of the night that wrote it, where that is on record.
        created: when that night began; None where the manifest cannot be read.
        sft_pairs: memory pairs in it.
        preference_pairs: preference pairs in it.
        back: pairs of it that have been restored, and did not leave again for another file.
        restored: when all of them were back.
        state: whether it is on the disk and in the database.

    """

    file: str
    night: int | None
    created: datetime | None
    sft_pairs: int
    preference_pairs: int
    back: int
    restored: datetime | None
    state: State


def listed_files(*, artifacts: Path, using: str) -> list[ListedFile]:
    """Return all archive files, oldest first: those on record, then those that merely lie in the folder."""
    rows = list(ArchiveFile.objects.using(using).order_by("pk"))
    restored = ExportedPair.objects.using(using).filter(restored_at__isnull=False).order_by()
    back = dict(restored.values("file").annotate(pairs=Count("pk")).values_list("file", "pairs"))
    found = [
        ListedFile(
            file=Path(row.path).name,
            night=row.run_id,
            created=row.created_at,
            sft_pairs=row.sft_pairs,
            preference_pairs=row.preference_pairs,
            back=back.get(Path(row.path).name, 0),
            restored=row.restored_at,
            state="ready" if (artifacts / row.path).is_file() else "missing",
        )
        for row in rows
    ]
    return found + list(_unknown(archive_folder(artifacts), {row.path for row in rows}))


def _unknown(folder: Path, known: set[str]) -> Iterator[ListedFile]:
    for path in finished_files(folder):
        if stored_path(path) in known:
            continue
        try:
            manifest = read_manifest(path)
        except ArchiveError:
            manifest = None
        yield ListedFile(
            file=path.name,
            night=None,
            created=manifest.created if manifest else None,
            sft_pairs=manifest.sft_pairs if manifest else 0,
            preference_pairs=manifest.preference_pairs if manifest else 0,
            back=0,
            restored=None,
            state="unknown to the database",
        )
