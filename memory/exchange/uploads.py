"""Where an uploaded file lies between its preview and its import."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from import_export.tmp_storages import BaseStorage

# What was previewed and never imported goes after a day, with the next upload.
KEPT_SECONDS = 86_400
_NAME = re.compile(r"[0-9a-f]{32}")
# What an import puts beside the file that it reads.
_CLAIM = ".claimed"


class UploadGoneError(ValueError):
    """A file that cannot be imported, or not now; says what to do."""


class UploadStorage(BaseStorage):
    """Files in a folder of the application's own, under names that nobody can guess.

    The library's own storage opens, and deletes, any file of the system's temporary folder that a form names.
    """

    @property
    def path(self) -> Path:
        """Where the file lies.

        Raises:
            UploadGoneError: the name is none that was given out here.

        """
        if not _NAME.fullmatch(self.name or ""):
            raise UploadGoneError(f"file: got {self.name!r}, allowed one that was uploaded here; upload it again")
        return _folder() / str(self.name)

    def keep(self, upload: Any) -> None:
        """Write an upload down, chunk by chunk."""
        self.name = uuid4().hex
        _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear()
        with self.path.open("wb") as file:
            for chunk in upload.chunks():
                file.write(chunk)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the file for one import; two at the same time, as after a double click, would store its pairs twice.

        Raises:
            UploadGoneError: the file was imported already, is being imported, or was cleared away.

        """
        claim = self.path.with_suffix(_CLAIM)
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            raise UploadGoneError(
                "file: it is being imported already; upload it again if its pairs do not come"
            ) from None
        except FileNotFoundError:
            raise _gone() from None
        try:
            if not self.path.is_file():
                raise _gone()
            yield
        finally:
            claim.unlink(missing_ok=True)

    def read(self) -> Path:
        """Return the path; the formats read the file row by row."""
        return self.path

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _gone() -> UploadGoneError:
    return UploadGoneError("file: the uploaded file is gone; upload it again")


def _folder() -> Path:
    return Path(settings.ARTIFACTS_DIR) / "uploads"


def _clear() -> None:
    oldest = time.time() - KEPT_SECONDS
    for file in _folder().iterdir():
        if _NAME.fullmatch(file.name.removesuffix(_CLAIM)) and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
