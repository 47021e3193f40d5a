"""Archive pairs that have outlived their use, and move what has been archived for long into files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta

from maintenance.archive.exporting import Export, check_files, export_pairs, missing_files
from maintenance.archive.files import ArchiveError
from maintenance.archive.retiring import archive_pairs
from maintenance.night import Night, PartlyDoneError, StepOutcome


def retire(night: Night) -> StepOutcome:
    """Take old, worn and rejected pairs out of the pools; after `export_after_days` more, out of the database.

    Raises:
        PartlyDoneError: the disk does not take a file, or a file of an earlier night is damaged or gone; what was
            archived stays so, and what was exported.

    """
    archived = archive_pairs(night)
    export = Export()
    check_files(night, export)
    days = night.config.retire.export_after_days
    failed: Exception | None = None
    if days is not None:
        try:
            export_pairs(night, export, before=night.now - timedelta(days=days))
        except (OSError, ArchiveError) as error:
            failed = error
    outcome = _outcome(night, archived, export)
    if reasons := [*([str(failed)] if failed else []), *export.problems]:
        raise PartlyDoneError("; ".join(reasons), outcome) from failed
    return outcome


def _outcome(night: Night, archived: Mapping[str, int], export: Export) -> StepOutcome:
    counts = {
        **archived,
        "exported_sft": export.exported["sft"],
        "exported_preference": export.exported["preference"],
        "files": len(export.files),
        "kept": len(export.kept),
    }
    kept = export.kept[: night.config.report.examples]
    return StepOutcome(
        counts,
        {
            "files": export.files,
            "kept": [asdict(each) for each in kept],
            "problems": export.problems,
            "notes": list(_notes(export)),
            "examples": [{"kind": "kept", "about": f"{each.channel}:{each.pair}: {each.reason}"} for each in kept],
        },
    )


def _notes(export: Export) -> Iterator[str]:
    """Yield what the report says in words of the files of earlier nights."""
    yield from export.problems
    if export.missing:
        yield missing_files(export.missing)
