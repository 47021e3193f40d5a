"""Uploaded files as rows, read one at a time whatever their size."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memory.exchange.formulas import unguarded

# An upload is read within a request; what is larger goes through `manage.py import_conversations`.
MAX_IMPORT_BYTES = 32 * 1024 * 1024


class UnreadableUploadError(ValueError):
    """A file that holds no rows of the format; says what was got and what is allowed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: the line where it begins, and its values, or why it cannot be read."""

    line: int
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file whose first row names its columns; the guard against formulas is taken off."""

    path: Path
    columns: tuple[str, ...]

    @classmethod
    def opened(cls, path: Path, *, required: Sequence[str]) -> CsvFile:
        """Return the file with its columns.

        Raises:
            UnreadableUploadError: it is no CSV file, or lacks one of the columns `required`.

        """
        # The limit is the process's own, of 128 kB a cell; texts may be longer.
        csv.field_size_limit(MAX_IMPORT_BYTES)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                columns = tuple(name.strip() for name in next(csv.reader(file), []))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UnreadableUploadError(f"file: got no CSV in UTF-8 ({error})") from error
        if missing := [name for name in required if name not in columns]:
            raise UnreadableUploadError(
                f"file: got {len(columns)} columns without {', '.join(missing)}, allowed a first row that names"
                f" {', '.join(required)}"
            )
        return cls(path, columns)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows; one that cannot be read ends the file."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            next(reader, None)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader, None)
                except (UnicodeDecodeError, csv.Error) as error:
                    yield Row(line, problem=f"got what is no CSV in UTF-8 ({error}); the rest of the file is left out")
                    return
                if cells is None:
                    return
                if len(cells) > len(self.columns):
                    yield Row(line, problem=f"got {len(cells)} cells, allowed {len(self.columns)}")
                elif any(cells):
                    yield Row(line, dict(zip(self.columns, map(unguarded, cells), strict=False)))


@dataclass(frozen=True, slots=True)
class JsonLinesFile:
    """A file with one JSON object a line."""

    path: Path

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows; a line that is no JSON object is one without values."""
        with self.path.open("rb") as file:
            for line, text in enumerate(file, 1):
                if text.strip():
                    yield _json_row(line, text)


def _json_row(line: int, text: bytes) -> Row:
    try:
        values = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Row(line, problem=f"got no JSON ({error})")
    if not isinstance(values, dict):
        return Row(line, problem=f"got {type(values).__name__}, allowed a JSON object")
    return Row(line, values)
