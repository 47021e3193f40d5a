"""Archive pairs that have outlived their use, and move what has been archived for long into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

from maintenance.archive.exporting import Export, export_pairs
from maintenance.archive.files import ArchiveError
from maintenance.archive.retiring import archive_pairs
from maintenance.night import Night, PartlyDoneError, StepOutcome


def retire(night: Night) -> StepOutcome:
    """Take old, worn and rejected pairs out of the pools; after `export_after_days` more, out of the database.

    Raises:
        PartlyDoneError: the disk does not take a file; what was archived stays so, and what was exported before.

    """
    archived = archive_pairs(night)
    export = Export()
    days = night.config.retire.export_after_days
    if days is not None:
        try:
            export_pairs(night, export, before=night.now - timedelta(days=days))
        except (OSError, ArchiveError) as error:
            raise PartlyDoneError(str(error), _outcome(night, archived, export)) from error
    return _outcome(night, archived, export)


def _outcome(night: Night, archived: Mapping[str, int], export: Export) -> StepOutcome:
    counts = {
        **archived,
        "exported_sft": export.exported["sft"],
        "exported_preference": export.exported["preference"],
        "files": len(export.files),
        "kept": len(export.kept),
    }
    kept = [asdict(each) for each in export.kept[: night.config.report.examples]]
    return StepOutcome(counts, {"files": export.files, "kept": kept, "problems": export.problems})
