"""The formats that pairs go out and come in by."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from import_export.formats.base_formats import Format

from memory.exchange.files import CsvFile, JsonLinesFile
from memory.exchange.formulas import guarded
from memory.exchange.pairs import REQUIRED, record_of_pair
from memory.models import PreferencePair, SftPair


class PairsFormat(Format):
    """A format whose files are read row by row from where they lie."""

    def __init__(self, encoding: str | None = None) -> None:
        """Take the encoding that the library hands on; files are UTF-8."""

    def can_import(self) -> bool:
        """Return that files of it can be uploaded."""
        return True

    def is_binary(self) -> bool:
        """Return that the library must not decode the file."""
        return True


class CsvFormat(PairsFormat):
    """CSV in UTF-8 for a spreadsheet."""

    model: type[SftPair] | type[PreferencePair]

    def get_title(self) -> str:
        """Return the name, which is also the end of a file's."""
        return "csv"

    def create_dataset(self, in_stream: Path) -> CsvFile:
        """Return the rows of a file."""
        return CsvFile.opened(in_stream, required=REQUIRED[self.model])


class JsonLinesFormat(PairsFormat):
    """One record of TRL's a line."""

    def get_title(self) -> str:
        """Return the name, which is also the end of a file's."""
        return "jsonl"

    def create_dataset(self, in_stream: Path) -> JsonLinesFile:
        """Return the rows of a file."""
        return JsonLinesFile(in_stream)


class MemoryCsvFormat(CsvFormat):
    """CSV of memory pairs."""

    model = SftPair


class PreferenceCsvFormat(CsvFormat):
    """CSV of preference pairs."""

    model = PreferencePair


class _Echo:
    """A file for the CSV writer that hands each line back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield a CSV file line by line, no cell of which a spreadsheet takes for a formula."""
    writer = csv.writer(_Echo())
    # The mark by which spreadsheets know UTF-8.
    yield "\ufeff"
    for cells in rows:
        # The library writes an empty list as nothing.
        yield writer.writerow(["" if cell is None else guarded(str(cell)) for cell in cells])


def json_lines(pairs: Iterable[SftPair | PreferencePair]) -> Iterator[str]:
    """Yield a JSONL file line by line."""
    for pair in pairs:
        yield json.dumps(record_of_pair(pair), ensure_ascii=False) + "\n"
