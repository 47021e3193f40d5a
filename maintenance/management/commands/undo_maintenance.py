"""A night, taken back."""

import json as json_text
import sqlite3
from argparse import ArgumentParser
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django_rich.management import RichCommand

from maintenance.nightly import close_dead_runs, night_folder, night_lock
from maintenance.rehearsal import rehearsal
from maintenance.steps import UnknownStepError, known_steps
from maintenance.tables import undo_tables
from maintenance.undo import UnknownNightError, find_night, undo
from memory.databases import UnfitDatabaseError, check_migrated
from memory.management.refusing import RefusingCommand
from training.lock import LockedError

FAILED = 2
REFUSED = 3
LOCKED = 4
INTERRUPTED = 130


class Command(RefusingCommand, RichCommand):
    """`manage.py undo_maintenance`."""

    help = (
        "Put back what a night did to rows: pairs that it merged, archived, re-emitted or changed are as they were, "
        "what it made is taken away, what it exported comes back. Rows that a person edited, or that were trained "
        "since, are left as they are and listed. Nights are best undone newest first. Exit codes: 0 everything is put "
        "back; 1 the input cannot be used; 2 the database or the disk failed; 3 some rows were left; 4 a night runs; "
        "130 stopped. After 2 and 130 a second call undoes the rest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("run", metavar="RUN", help="Number of the night, or last for the newest.")
        parser.add_argument(
            "--step", metavar="STEP", nargs="+", action="extend", dest="steps", help="Undo these alone."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Tell what would be put back and what would be left; change nothing."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of tables.")

    def handle(self, *, run: str, steps: list[str] | None, dry_run: bool, json: bool, **options: Any) -> None:
        """Undo, report, exit."""
        artifacts, using = settings.ARTIFACTS_DIR, DEFAULT_DB_ALIAS
        left = "nothing was changed" if dry_run else "call it again to undo the rest"
        try:
            wanted = None if steps is None else known_steps("--step", steps)
            check_migrated(using=using)
            database = rehearsal(using=using, folder=night_folder(artifacts)) if dry_run else nullcontext(using)
            with night_lock(artifacts), database as alias:
                close_dead_runs(using=alias)
                report = undo(find_night(run, using=alias), steps=wanted, artifacts=artifacts, using=alias)
        except LockedError as error:
            raise CommandError(str(error), returncode=LOCKED) from error
        except (UnknownNightError, UnknownStepError, UnfitDatabaseError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as stop:
            raise CommandError(f"stopped; {left}", returncode=INTERRUPTED) from stop
        except (DatabaseError, sqlite3.Error, OSError) as error:
            raise CommandError(f"{error}; {left}", returncode=FAILED) from error
        if json:
            self.stdout.write(json_text.dumps({"dry_run": dry_run, **asdict(report)}))
        else:
            for part in undo_tables(report, dry_run=dry_run):
                self.console.print(part, soft_wrap=isinstance(part, str))
        if report.refused:
            raise SystemExit(REFUSED)
