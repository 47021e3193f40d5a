"""Command: training pairs out of stored conversations."""

import json
import os
import time
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS

from memory.databases import UnfitDatabaseError, database_file
from memory.extraction.export import export_jsonl
from memory.extraction.pipeline import extract
from memory.extraction.report import ExtractionReport
from memory.extraction.request import ExtractionOptions, Selection, UnknownConversationError, conversation_named
from memory.extraction.turns import MAX_CONTEXT_MESSAGES
from memory.management.arguments import iso_time
from memory.management.refusing import RefusingCommand
from memory.progress import count_progress


class Command(RefusingCommand):
    """Extract memory pairs, preference pairs, replay entries."""

    help = (
        "Make memory pairs, preference pairs, replay entries of stored conversations. What is stored already is left "
        "alone, so that the command can be repeated, also after it was killed. Conversations without consent give "
        "nothing. Name --all, --conversation-id or --since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        which = parser.add_argument_group("which conversations")
        which.add_argument("--all", "--all-conversations", action="store_true", help="All conversations.")
        which.add_argument("--conversation-id", metavar="ID", help="One conversation: its id or its external id.")
        which.add_argument(
            "--since",
            type=iso_time,
            metavar="ISO",
            help="Turns in which something was said at or after this date or time, in UTC unless it names a zone.",
        )
        parser.add_argument(
            "--include-context",
            action="store_true",
            help=f"Keep the dialogue before each instruction with its pairs, the last {MAX_CONTEXT_MESSAGES} messages "
            "at most (default: the instruction alone).",
        )
        parser.add_argument(
            "--include-introspection",
            action="store_true",
            help="Make memory pairs of internally generated introspection even if the live switch is off.",
        )
        parser.add_argument(
            "--no-skip-existing",
            action="store_true",
            help="Bring stored pairs up to date with their messages: texts and scores, never usage, review or what a "
            "person edited.",
        )
        parser.add_argument(
            "--db-path",
            type=Path,
            metavar="PATH",
            help="Work on this SQLite database file instead of the configured database.",
        )
        parser.add_argument(
            "--export-jsonl",
            type=Path,
            metavar="PATH",
            help="Then write the trainable memory pairs of these conversations in TRL's prompt-completion format.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Do everything, then undo it: only report.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the summary.")

    def handle(self, **options: Any) -> None:
        """Extract, export where asked, report."""
        began = time.monotonic()
        _refuse_contradictions(options)
        try:
            with database_file(options["db_path"]) if options["db_path"] else nullcontext(DEFAULT_DB_ALIAS) as using:
                selection = _selection(options, using)
                report = _extract(selection, options, using)
                exported = _export(selection, options["export_jsonl"], using)
        except UnfitDatabaseError as error:
            raise CommandError(f"--db-path: {error}") from error
        except UnknownConversationError as error:
            raise CommandError(f"--conversation-id: {error}") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        seconds = round(time.monotonic() - began, 3)
        if options["json"]:
            self.stdout.write(json.dumps({**report.as_dict(), "exported": exported, "seconds": seconds}))
        else:
            self.stdout.write("\n".join(_summary(report, exported, seconds, options)))


def _refuse_contradictions(options: dict[str, Any]) -> None:
    if not (options["all"] or options["conversation_id"] or options["since"]):
        raise CommandError("got no conversations, allowed --all, --conversation-id ID or --since ISO")
    if options["all"] and options["conversation_id"]:
        raise CommandError("got both --all and --conversation-id, allowed one of them")
    export = options["export_jsonl"]
    if export and options["dry_run"]:
        raise CommandError("got both --dry-run and --export-jsonl, allowed one of them: a dry run writes nothing")
    if export and (export.is_dir() or not export.parent.is_dir()):
        raise CommandError(f"--export-jsonl: got {export}, allowed a file in a folder that exists")
    if export and not os.access(export.parent, os.W_OK | os.X_OK):
        raise CommandError(f"--export-jsonl: got {export}, allowed a file in a folder that can be written to")


def _selection(options: dict[str, Any], using: str) -> Selection:
    name = options["conversation_id"]
    return Selection(conversation_id=conversation_named(name, using=using) if name else None, since=options["since"])


def _extract(selection: Selection, options: dict[str, Any], using: str) -> ExtractionReport:
    asked = ExtractionOptions(
        include_context=options["include_context"],
        include_introspection=options["include_introspection"],
        skip_existing=not options["no_skip_existing"],
        dry_run=options["dry_run"],
    )
    with count_progress("extracting", total=selection.count(using=using)) as progress:
        return extract(selection, asked, using=using, on_batch=progress)


def _export(selection: Selection, path: Path | None, using: str) -> int:
    if path is None:
        return 0
    try:
        return export_jsonl(selection, path, using=using)
    except OSError as error:
        raise CommandError(f"--export-jsonl: got {path}, which cannot be written ({error.strerror})") from error


def _summary(report: ExtractionReport, exported: int, seconds: float, options: dict[str, Any]) -> list[str]:
    """Return the report as lines to read."""
    lines = ["Dry run: nothing was stored."] if options["dry_run"] else []
    lines.append(
        f"{report.conversations} conversations with {report.assistant_turns} assistant turns in {seconds:.1f} s: "
        f"{report.created} memory pairs created, {report.existing} there already, {report.refreshed} brought up to date"
    )
    lines.append(
        f"{report.preference_pairs_created} preference pairs created, {report.replay_entries_created} replay entries"
    )
    lines += [f"  dropped {count}: {reason.replace('_', ' ')}" for reason, count in sorted(report.dropped.items())]
    if options["export_jsonl"]:
        lines.append(f"{exported} memory pairs written to {options['export_jsonl']}")
    return lines
