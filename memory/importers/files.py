"""The bytes of an export: a plain file, or the members of an archive that may be read."""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from memory.importers.records import Skipped, UnreadableFileError

# What reading a damaged file can raise midway.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error)

MAX_MEMBER_BYTES = 8 * 1024**3
# Chats pack about 5 to 1, rarely 30 to 1; an archive made to fill the disk packs 1000 to 1.
MAX_MEMBER_RATIO = 200
# Below this size the ratio says nothing: a short file of one repeated line is harmless.
MIN_BYTES_FOR_RATIO = 8 * 1024**2

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_KNOWN_COMPRESSION = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_CONVERSATIONS = re.compile(r"conversations(-\d+)?\.jsonl?", re.IGNORECASE)
_FEEDBACK = "message_feedback.json"


@dataclass(frozen=True, slots=True)
class Stream:
    """Open bytes; `raw` is the file below, whose position tells how far reading is."""

    data: IO[bytes]
    raw: IO[bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """A file to read, or one member of an archive."""

    path: Path
    member: str = ""

    @contextmanager
    def opened(self) -> Iterator[Stream]:
        """Open the bytes for reading, from their start."""
        with self.path.open("rb") as raw:
            if not self.member:
                yield Stream(raw, raw)
                return
            with zipfile.ZipFile(raw) as archive, archive.open(self.member) as data:
                yield Stream(data, raw)


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a file is to be read, ratings last, and which members of an archive were refused."""

    readable: tuple[Part, ...]
    refused: tuple[Skipped, ...] = ()


def parts_of(path: Path) -> Parts:
    """Return what is to be read at `path`.

    Raises:
        UnreadableFileError: if the archive is damaged, or holds no member to read.

    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(4) in ZIP_MAGIC
        return _members_of(path) if is_archive else Parts((Part(path),))
    except zipfile.BadZipFile as error:
        raise UnreadableFileError(f"damaged archive: {error}") from error
    except OSError as error:
        raise UnreadableFileError(error.strerror or str(error)) from error


def _members_of(path: Path) -> Parts:
    wanted, refused = [], []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = PurePosixPath(info.filename).name
            is_wanted = bool(_CONVERSATIONS.fullmatch(name)) or name == _FEEDBACK
            danger = _points_outside(info) or (_danger(info) if is_wanted else None)
            if danger:
                refused.append(Skipped(info.filename, danger))
            elif is_wanted:
                wanted.append(Part(path, info.filename))
    if not wanted and refused:
        raise UnreadableFileError("; ".join(f"{skipped.where}: {skipped.reason}" for skipped in refused))
    if not wanted:
        raise UnreadableFileError("the archive holds no conversations.json")
    wanted.sort(key=lambda part: (PurePosixPath(part.member).name == _FEEDBACK, part.member))
    return Parts(tuple(wanted), tuple(refused))


def _points_outside(info: zipfile.ZipInfo) -> str | None:
    """Return why a member is refused whose name, unpacked, would lie outside of the folder; nothing is unpacked."""
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "refused: its name points outside of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "refused: it is a symbolic link"
    return None


def _danger(info: zipfile.ZipInfo) -> str | None:
    """Return why a member must not be read, or None."""
    if info.flag_bits & 0x1:
        return "refused: it is encrypted"
    if info.compress_type not in _KNOWN_COMPRESSION:
        return f"refused: unknown compression {info.compress_type}"
    if info.file_size > MAX_MEMBER_BYTES:
        return f"refused: {info.file_size} bytes unpacked, allowed {MAX_MEMBER_BYTES}"
    if info.file_size > MIN_BYTES_FOR_RATIO and info.file_size > MAX_MEMBER_RATIO * info.compress_size:
        ratio = info.file_size // max(info.compress_size, 1)
        return f"refused: it unpacks to {ratio} times its size, allowed {MAX_MEMBER_RATIO}"
    return None
