"""Archive files on the disk: written whole or not at all, read back, checked."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from django.apps import apps
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from pydantic import BaseModel, ConfigDict, ValidationError

from maintenance.archive.records import CHANNELS, Record, parse_record

# To be raised when what is in a column comes to mean something else.
FORMAT = 1
SUFFIX = ".jsonl.gz"
_MANIFEST_SUFFIX = ".manifest.json"
_FOLDER = "archive"
# The apps whose rows are in the files.
_APPS = ("memory", "training", "maintenance")
# More takes several times as long and saves a few percent.
_COMPRESSION = 6


class ArchiveError(ValueError):
    """An archive file that cannot be used; the message names it and says why."""


class Manifest(BaseModel):
    """What an archive file holds.

    Attributes:
        format: of the file; see `docs/formats.md`.
        created: when the night that wrote it began.
        version: of the project.
        migrations: the last one of each app, as the database had them.
        sha256: of the compressed file.
        sft_pairs: how many memory pairs.
        preference_pairs: how many preference pairs.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    created: datetime
    version: str
    migrations: dict[str, str]
    sha256: str
    sft_pairs: int
    preference_pairs: int


def archive_folder(artifacts: Path) -> Path:
    """Return the folder of the archive files."""
    return artifacts / _FOLDER


def stored_path(path: Path) -> str:
    """Return the path of an archive file under ARTIFACTS_DIR, as the database has it."""
    return f"{_FOLDER}/{path.name}"


def manifest_path(path: Path) -> Path:
    """Return where the manifest of an archive file lies."""
    return path.with_name(path.name.removesuffix(SUFFIX) + _MANIFEST_SUFFIX)


def write_archive(path: Path, records: Iterable[Record], *, created: datetime, using: str) -> Manifest | None:
    """Write an archive file and its manifest; return that, or None where there are no records and hence no file.

    Each appears under its name once the disk has taken all of it, the manifest last: a file that has one is whole. The
    file was read back by then. Equal records make equal bytes.

    Raises:
        OSError: the disk does not take it; then nothing is left of it.
        ArchiveError: what was read back is not what was written; then likewise.

    """
    rows = iter(records)
    first = next(rows, None)
    if first is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial = _partial(path)
        counts, checksum = _write_lines(partial, chain([first], rows))
        manifest = Manifest(
            format=FORMAT,
            created=created,
            version=version("dual-channel"),
            migrations=_applied_migrations(using),
            sha256=checksum,
            sft_pairs=counts["sft"],
            preference_pairs=counts["preference"],
        )
        check_content(partial, manifest)
        partial.replace(path)
        _write_manifest(manifest_path(path), manifest)
    except BaseException:
        for left in (manifest_path(path), _partial(manifest_path(path)), path, _partial(path)):
            left.unlink(missing_ok=True)
        raise
    return manifest


def leftovers(folder: Path) -> list[Path]:
    """Return what a process that died left behind of files that it had not finished."""
    unfinished = [path for path in folder.glob(f"*{SUFFIX}") if not manifest_path(path).is_file()]
    return sorted([*folder.glob(".*.partial"), *unfinished])


def finished_files(folder: Path) -> list[Path]:
    """Return the archive files that have a manifest, in the order of their names."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if manifest_path(path).is_file())


def records_of(path: Path) -> Iterator[Record]:
    """Yield the records of an archive file, one at a time.

    Raises:
        ArchiveError: it is damaged; says where.

    """
    number = 0
    try:
        with gzip.open(path, "rt", encoding="ascii", newline="\n") as lines:
            for line in lines:
                number += 1
                yield parse_record(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ArchiveError(f"{path}: damaged after line {number}: {error}") from error
    except ValueError as error:
        raise ArchiveError(f"{path}: line {number}: {error}") from error


def check_archive(path: Path, *, artifacts: Path, using: str) -> Manifest:
    """Return the manifest of an archive file that can be restored here; every line of it has been read.

    Raises:
        ArchiveError: the file is missing or damaged, lies elsewhere, or was written by another version.

    """
    if path.resolve().parent != archive_folder(artifacts).resolve():
        raise ArchiveError(f"{path}: allowed are files in {archive_folder(artifacts)}")
    if not path.is_file():
        raise ArchiveError(f"{path}: no such file")
    manifest = read_manifest(path)
    known = MigrationRecorder(connections[using]).applied_migrations()
    for app, name in manifest.migrations.items():
        if (app, name) not in known:
            raise ArchiveError(
                f"{path}: written under migration {app}.{name}, which this database does not have; allowed are files "
                f"of this version or an earlier one (that was version {manifest.version})"
            )
    check_content(path, manifest)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Return the manifest beside an archive file.

    Raises:
        ArchiveError: it is missing, damaged, or of another format.

    """
    beside = manifest_path(path)
    try:
        manifest = Manifest.model_validate_json(beside.read_bytes())
    except FileNotFoundError as error:
        raise ArchiveError(f"{path}: its manifest {beside.name} is missing") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise ArchiveError(f"{beside}: {where}{first['msg']}") from error
    if manifest.format != FORMAT:
        raise ArchiveError(f"{beside}: format: got {manifest.format}, allowed {FORMAT}")
    return manifest


def check_content(path: Path, manifest: Manifest) -> None:
    """Read an archive file to its end and compare it with its manifest.

    Raises:
        ArchiveError: they differ, or a line is none.

    """
    check_bytes(path, manifest.sha256)
    counts = Counter(record.channel.name for record in records_of(path))
    expected = {"sft": manifest.sft_pairs, "preference": manifest.preference_pairs}
    if any(counts[name] != expected[name] for name in CHANNELS):
        raise ArchiveError(f"{path}: damaged: got {dict(counts)} pairs, allowed {expected}")


def check_bytes(path: Path, sha256: str) -> None:
    """Compare an archive file with its checksum.

    Raises:
        ArchiveError: they differ.

    """
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != sha256:
        raise ArchiveError(f"{path}: damaged: got the checksum {checksum[:12]}…, allowed {sha256[:12]}…")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _write_lines(path: Path, records: Iterable[Record]) -> tuple[Counter[str], str]:
    """Write the records; return how many there were by channel, and the checksum of what was meant to be written."""
    counts: Counter[str] = Counter()
    # What people said is nobody else's business.
    path.touch(mode=0o600)
    with path.open("wb") as file:
        measured = _Measured(file)
        # A name or a time in the header would make equal content unequal.
        with gzip.GzipFile(
            filename="",
            mode="wb",
            fileobj=measured,
            mtime=0,
            compresslevel=_COMPRESSION,
        ) as packed:
            for record in records:
                packed.write(record.as_line().encode("ascii") + b"\n")
                counts[record.channel.name] += 1
        file.flush()
        os.fsync(file.fileno())
    return counts, measured.checksum.hexdigest()


class _Measured:
    """A file whose checksum is known when it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.checksum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.checksum.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write_manifest(path: Path, manifest: Manifest) -> None:
    partial = _partial(path)
    with partial.open("wb") as file:
        file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    # The names, too, have to be on the disk before a row goes.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _applied_migrations(using: str) -> dict[str, str]:
    """Return the last migration of each app that the database has."""
    applied = MigrationRecorder(connections[using]).applied_migrations()
    own = {app: max((name for label, name in applied if label == app), default="") for app in _APPS}
    return {app: name for app, name in own.items() if name and apps.is_installed(app)}
