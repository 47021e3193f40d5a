"""What came of an import, a file at a time, with its JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from memory.importers.records import CutOff, Skipped


@dataclass(slots=True)
class Counts:
    """New rows by kind, stored messages that changed, records that brought nothing, records older than asked for."""

    conversations: int = 0
    messages: int = 0
    preference_pairs: int = 0
    sft_pairs: int = 0
    updated: int = 0
    already_present: int = 0
    left_out: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of `other` to these."""
        for each in fields(Counts):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_json(self) -> dict[str, int]:
        """Return the counts by their names."""
        return {each.name: getattr(self, each.name) for each in fields(Counts)}


@dataclass(slots=True)
class FileReport:
    """What came of one file; `error` says why nothing of it was stored, `cut_offs` where parts of it end early."""

    path: str
    format: str = ""
    counts: Counts = field(default_factory=Counts)
    skipped: list[Skipped] = field(default_factory=list)
    cut_offs: list[CutOff] = field(default_factory=list)
    error: str = ""

    @property
    def is_damaged(self) -> bool:
        """Whether anything of the file could not be read."""
        return bool(self.error or self.skipped or self.cut_offs)

    def damage(self) -> str:
        """Return what is wrong with the file as a whole, as one line; empty if nothing is."""
        return self.error or "; ".join(
            f"{f'{cut.where} is ' if cut.where else ''}cut off at byte {cut.byte_offset}: {cut.reason}"
            for cut in self.cut_offs
        )

    def as_json(self) -> dict[str, Any]:
        """Return the report as `import_conversations --json` prints it for one file."""
        return {
            "path": self.path,
            "format": self.format,
            **self.counts.as_json(),
            "skipped": [_skipped(each) for each in self.skipped],
            "error": self.damage() or None,
        }


@dataclass(slots=True)
class ImportReport:
    """What came of all files; `passed_over` are files of a folder that are no exports."""

    files: list[FileReport] = field(default_factory=list)
    passed_over: Sequence[str] = ()

    @property
    def counts(self) -> Counts:
        """The counts of all files together."""
        total = Counts()
        for file in self.files:
            total.add(file.counts)
        return total

    @property
    def is_damaged(self) -> bool:
        """Whether anything of any file could not be read."""
        return any(file.is_damaged for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Return the report as `import_conversations --json` prints it."""
        return {
            **self.counts.as_json(),
            "skipped": [
                {"where": f"{file.path}: {each.where}", "reason": each.reason}
                for file in self.files
                for each in file.skipped
            ],
            "files": [file.as_json() for file in self.files],
        }


def _skipped(skipped: Skipped) -> dict[str, str]:
    return {"where": skipped.where, "reason": skipped.reason}
