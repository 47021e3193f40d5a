"""Where an uploaded file lies between its preview and its import."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from import_export.tmp_storages import BaseStorage

# What was previewed and never imported goes after a day, with the next upload.
KEPT_SECONDS = 86_400
_NAME = re.compile(r"[0-9a-f]{32}")


class UploadStorage(BaseStorage):
    """Files in a folder of the application's own, under names that nobody can guess.

    The library's own storage opens, and deletes, any file of the system's temporary folder that a form names.
    """

    @property
    def path(self) -> Path:
        """Where the file lies.

        Raises:
            ValueError: the name is none that was given out here.

        """
        if not _NAME.fullmatch(self.name or ""):
            raise ValueError(f"file: got {self.name!r}, allowed one that was uploaded here")
        return _folder() / str(self.name)

    def keep(self, upload: Any) -> None:
        """Write an upload down, chunk by chunk."""
        self.name = uuid4().hex
        _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear()
        with self.path.open("wb") as file:
            for chunk in upload.chunks():
                file.write(chunk)

    def read(self) -> Path:
        """Return the path; the formats read the file row by row."""
        return self.path

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _folder() -> Path:
    return Path(settings.ARTIFACTS_DIR) / "uploads"


def _clear() -> None:
    oldest = time.time() - KEPT_SECONDS
    for file in _folder().iterdir():
        if _NAME.fullmatch(file.name) and file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
