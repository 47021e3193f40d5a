"""One process at a time that works in a folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

LOCK_FILE = ".lock"


class LockedError(RuntimeError):
    """Another process works in the folder; the message says which, where, since when."""


class FolderLock:
    """A held lock, with its holder written in the file for whoever finds it taken."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._holder: dict[str, Any] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write()

    def name_run(self, number: int) -> None:
        """Write down which run the lock is held for."""
        self._holder["run"] = number
        self._write()

    def _write(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(self._holder))
        self._file.flush()


@contextmanager
def folder_lock(root: Path, *, doing: str = "trains", allowed: str = "one trainer a folder") -> Iterator[FolderLock]:
    """Hold the lock of the folder `root`, which is made where it is missing.

    The kernel holds it for the open file (flock), so that it goes with its process, however that ends. The file stays:
    two processes that lock files of one name but different inodes would not see each other. `doing` and `allowed` are
    for the message that whoever finds it taken gets.

    Raises:
        LockedError: another process holds it.

    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(f"{root}: {_holder(file)} {doing} here; allowed is {allowed}") from error
        yield FolderLock(file)


def is_locked(root: Path) -> bool:
    """Return whether a process holds the lock of the folder; nothing is written, nothing waited for."""
    try:
        with (root / LOCK_FILE).open(encoding="utf-8") as file:
            # Shared, so that two who ask do not take each other for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
    except ValueError:
        # Between taking the lock and writing into the file lies a moment.
        return "another process"
    run = f", run {holder['run']}" if "run" in holder else ""
    return f"process {holder['pid']} on {holder['host']} (since {holder['since']}{run})"
