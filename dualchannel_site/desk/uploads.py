"""Uploads that go to disk as they arrive, and end where they grow too large."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest

# All files of one request. Twice what the import of a list takes, whose form says what is wrong with a larger file.
UPLOAD_MAX_BYTES = 64 * 1024 * 1024


class BoundedUploadHandler(TemporaryFileUploadHandler):
    """Writes files to temporary ones without ever holding one in memory.

    Django bounds the fields of a form but not its files, and reads them before it knows who sent them.
    """

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self.received_bytes = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803 - Django's name for it
        content_length: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Refuse a request that says beforehand that it is too large."""
        if content_length > UPLOAD_MAX_BYTES:
            raise RequestDataTooBig(f"got an upload of {content_length} bytes, allowed {UPLOAD_MAX_BYTES}")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a piece to disk; refuse the one that is too much."""
        self.received_bytes += len(raw_data)
        if self.received_bytes > UPLOAD_MAX_BYTES:
            self.upload_interrupted()
            raise RequestDataTooBig(f"got an upload of more than the {UPLOAD_MAX_BYTES} bytes that are allowed")
        super().receive_data_chunk(raw_data, start)
