"""The night: what keeps the memory clean and varied while people sleep."""

import json as json_text
import signal
import sqlite3
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django_rich.management import RichCommand
from rich.console import Console

from maintenance.config import NightlyConfig
from maintenance.nightly import NightOrder, run_night
from maintenance.steps import STEPS, UnknownStepError, known_steps
from maintenance.tables import night_tables
from memory.databases import UnfitDatabaseError, check_migrated
from memory.management.refusing import RefusingCommand
from memory.progress import share_progress
from training.config import ConfigError, load_section
from training.lock import LockedError

STEP_FAILED = 2
LOCKED = 4
INTERRUPTED = 130


class Command(RefusingCommand, RichCommand):
    """`manage.py nightly_maintenance`."""

    help = (
        "Extract and embed what is new, merge duplicates, archive, re-emit and re-cluster pairs, trim the replay "
        "buffer, train and evaluate where the config says so, tidy up; then write the morning report. Nothing is lost: "
        "`undo_maintenance` puts back what a night did. Exit codes: 0 all well; 1 the input cannot be used; 2 a step "
        "failed; 4 another night runs; 130 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--config",
            metavar="PATH",
            type=Path,
            default=settings.NIGHTLY_CONFIG,
            help="YAML config; by default NIGHTLY_CONFIG of the environment (%(default)s).",
        )
        parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            dest="overrides",
            help="Put a value over the config's, such as reemit.budget=20; may be given several times.",
        )
        names = ", ".join(STEPS)
        parser.add_argument(
            "--only", metavar="STEP", nargs="+", action="extend", help=f"Take these steps: {names}; all by default."
        )
        parser.add_argument("--skip", metavar="STEP", nargs="+", action="extend", help="Leave these steps out.")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Count what the steps would do, change nothing: works on a copy of an SQLite database, elsewhere in a "
            "transaction that is rolled back.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of tables.")

    def handle(self, *, config: Path, overrides: list[str], json: bool, **options: Any) -> None:
        """Take the steps, report, exit."""
        try:
            only = known_steps("--only", options["only"] or STEPS)
            skipped = known_steps("--skip", options["skip"] or ())
            order = NightOrder(
                config=load_section(NightlyConfig, config, overrides),
                config_path=config,
                steps=[name for name in only if name not in skipped],
                dry_run=options["dry_run"],
                artifacts=settings.ARTIFACTS_DIR,
                project=settings.BASE_DIR,
            )
            check_migrated(using=DEFAULT_DB_ALIAS)
            with _terminated_as_interrupted(), share_progress() as progress:
                report = run_night(order, say=_say, progress=progress)
        except (ConfigError, UnknownStepError, UnfitDatabaseError) as error:
            raise CommandError(str(error)) from error
        except LockedError as error:
            raise CommandError(str(error), returncode=LOCKED) from error
        except KeyboardInterrupt as stop:
            raise CommandError("stopped; the next night goes on from here", returncode=INTERRUPTED) from stop
        except (DatabaseError, sqlite3.Error, OSError) as error:
            raise CommandError(f"the night could not begin or end: {error}", returncode=STEP_FAILED) from error
        if json:
            self.stdout.write(json_text.dumps(report))
        else:
            for part in night_tables(report):
                self.console.print(part, soft_wrap=isinstance(part, str))
        if report["status"] != "succeeded":
            raise SystemExit(STEP_FAILED)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, as a shutdown sends it, end the night the way Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("terminated")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(line: str) -> None:
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
