"""Command: chat exports into the database."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from memory.importers.detect import AUTO, FORMATS
from memory.importing.reports import ImportReport
from memory.importing.run import import_paths
from memory.management.arguments import iso_time
from memory.management.refusing import RefusingCommand
from memory.progress import byte_progress

EXIT_REFUSED = 1
EXIT_CUT_OFF = 3

# How many of the records that were left out the summary shows; --json has them all.
SHOWN_SKIPPED = 5

_WORDS = (
    ("conversations", "new conversations"),
    ("messages", "new messages"),
    ("preference_pairs", "new preference pairs"),
    ("sft_pairs", "new memory pairs"),
    ("updated", "messages updated"),
    ("already_present", "records already present"),
    ("left_out", "records older than --since"),
)


class Command(RefusingCommand):
    """Import conversations, preference pairs, ratings."""

    help = (
        "Import chat exports and training files. Importing a file again adds nothing; a longer export adds what is "
        "new. Exit code 0: everything was read, up to single records that are named; 1: a file was refused, or "
        "anything was damaged with --strict; 3: a file is cut off, and everything before the cut was stored."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "paths", nargs="+", type=Path, metavar="PATH", help="A file, a ZIP archive, or a folder of files."
        )
        parser.add_argument(
            "--format",
            choices=[AUTO, *FORMATS],
            default=AUTO,
            help="The format of the files; auto tells it from the content (default: %(default)s).",
        )
        parser.add_argument(
            "--since",
            type=iso_time,
            metavar="ISO",
            help="Leave out conversations last updated before this date or time, in UTC unless it names a zone "
            "(default: none are left out).",
        )
        parser.add_argument("--dry-run", action="store_true", help="Do everything, then undo it: only report.")
        parser.add_argument(
            "--strict", action="store_true", help="Store nothing at all if anything in any file is damaged."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the summary.")

    def handle(self, *, paths: list[Path], dry_run: bool, strict: bool, **options: Any) -> None:
        """Import, report, and end with the exit code that tells how it went."""
        with byte_progress() as progress:
            report = import_paths(
                paths,
                format=options["format"],
                since=options["since"],
                dry_run=dry_run,
                strict=strict,
                on_progress=progress,
            )
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False))
        else:
            self.stdout.write("\n".join(_summary(report, dry_run=dry_run)))
        _raise_for(report, strict=strict)


def _summary(report: ImportReport, *, dry_run: bool) -> list[str]:
    """Return the report as lines to read."""
    lines = ["Dry run: nothing was stored."] if dry_run else []
    for file in report.files:
        counts = file.counts
        if file.format:
            brought = [f"{getattr(counts, name)} {words}" for name, words in _WORDS if getattr(counts, name)]
            lines.append(f"{file.path} ({file.format}): {', '.join(brought) or 'nothing new'}")
        lines += [f"  skipped {each.where}: {each.reason}" for each in file.skipped[:SHOWN_SKIPPED]]
        if len(file.skipped) > SHOWN_SKIPPED:
            lines.append(f"  skipped {len(file.skipped) - SHOWN_SKIPPED} more; --json names them all")
    return [*lines, *(f"passed over {each}" for each in report.passed_over)]


def _raise_for(report: ImportReport, *, strict: bool) -> None:
    """End with an error if a file was refused, is cut off, or is damaged in a strict import."""
    damage = [f"{file.path}: {file.damage()}" for file in report.files if file.damage()]
    if strict and report.is_damaged:
        skipped = sum(len(file.skipped) for file in report.files)
        found = [*damage, f"{skipped} records could not be read"] if skipped else damage
        raise CommandError(f"Nothing was stored (--strict). {'; '.join(found)}", returncode=EXIT_REFUSED)
    if damage:
        refused = any(file.error for file in report.files)
        raise CommandError("; ".join(damage), returncode=EXIT_REFUSED if refused else EXIT_CUT_OFF)
