"""Exported pairs, brought back."""

import json as json_text
import re
import sqlite3
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django_rich.management import RichCommand

from maintenance.archive.files import ArchiveError
from maintenance.archive.listing import listed_files
from maintenance.archive.records import CHANNELS
from maintenance.archive.restoring import known_files, restore_files
from maintenance.archive.tables import file_tables, restore_tables
from maintenance.nightly import night_folder, night_lock
from maintenance.rehearsal import rehearsal
from memory.databases import UnfitDatabaseError, check_migrated
from memory.management.refusing import RefusingCommand
from training.lock import LockedError

FAILED = 2
REFUSED = 3
LOCKED = 4
INTERRUPTED = 130


class Command(RefusingCommand, RichCommand):
    """`manage.py restore_archive`."""

    help = (
        "Bring pairs back that a night moved out of the database into files: with their keys, every column, embedding, "
        "ledger, history and proposals, as they were. They are archived still; the admin can take them out of that. "
        "Pairs that are there already are left alone. Exit codes: 0 everything is there; 1 the input cannot be used, "
        "nothing was changed; 2 the database or the disk failed; 3 some pairs could not be restored; 4 a night runs; "
        "130 stopped. After 2 and 130 a second call restores the rest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "files", metavar="FILE", nargs="*", type=Path, help="Name of an archive file, or a path to one."
        )
        parser.add_argument("--list", action="store_true", dest="show", help="Show the archive files, restore nothing.")
        parser.add_argument(
            "--pair",
            metavar="CHANNEL:ID",
            nargs="+",
            action="extend",
            type=_pair,
            dest="pairs",
            help="Restore these pairs of the files alone, such as sft:12 or preference:7.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Tell what would come back and what would not; change nothing."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of tables.")

    def handle(self, *, files: list[Path], show: bool, json: bool, **options: Any) -> None:
        """Show or restore, report, exit."""
        if show:
            listed = listed_files(artifacts=settings.ARTIFACTS_DIR, using=DEFAULT_DB_ALIAS)
            self._write({"files": [asdict(each) for each in listed]}, file_tables(listed), json=json)
            return
        if not files:
            raise CommandError("FILE: got none, allowed are archive files; --list shows them")
        dry_run = options["dry_run"]
        left = "nothing was changed" if dry_run else "call it again to restore the rest"
        try:
            reports = _restore(files, options["pairs"], dry_run=dry_run)
        except LockedError as error:
            raise CommandError(str(error), returncode=LOCKED) from error
        except (ArchiveError, UnfitDatabaseError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as stop:
            raise CommandError(f"stopped; {left}", returncode=INTERRUPTED) from stop
        except (DatabaseError, sqlite3.Error, OSError) as error:
            raise CommandError(f"{error}; {left}", returncode=FAILED) from error
        content = {"dry_run": dry_run, "files": [asdict(report) for report in reports]}
        self._write(content, restore_tables(reports, dry_run=dry_run), json=json)
        if any(report.refused for report in reports):
            raise SystemExit(REFUSED)

    def _write(self, content: Any, parts: Any, *, json: bool) -> None:
        if json:
            self.stdout.write(json_text.dumps(content, cls=DjangoJSONEncoder))
            return
        for part in parts:
            self.console.print(part, soft_wrap=isinstance(part, str))


def _restore(files: Sequence[Path], pairs: list[tuple[str, int]] | None, *, dry_run: bool) -> Any:
    artifacts, using = settings.ARTIFACTS_DIR, DEFAULT_DB_ALIAS
    database = rehearsal(using=using, folder=night_folder(artifacts)) if dry_run else nullcontext(using)
    check_migrated(using=using)
    with night_lock(artifacts), database as alias:
        known = known_files(files, pairs=pairs or (), artifacts=artifacts, using=alias)
        return restore_files(known, artifacts=artifacts, using=alias, only=pairs)


def _pair(text: str) -> tuple[str, int]:
    found = re.fullmatch(rf"({'|'.join(CHANNELS)}):([0-9]+)", text)
    if found is None:
        raise ArgumentTypeError(f"got {text}, allowed are {' and '.join(f'{name}:ID' for name in CHANNELS)}")
    return found[1], int(found[2])
