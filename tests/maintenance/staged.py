"""`manage.py` with acts in the place of steps, in a world made narrower.

    python -m tests.maintenance.staged merge=fall retire=archive_all -- nightly_maintenance --json

Steps that are not named do nothing.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import Any

# Environment variables that make the world of a process narrower.
TIMEOUT, PRAGMAS, LARGEST_FILE = "STAGED_TIMEOUT_SECONDS", "STAGED_PRAGMAS", "STAGED_LARGEST_FILE_BYTES"


def narrow() -> None:
    """Set the limits that the environment names."""
    from django.conf import settings

    options: dict[str, Any] = settings.SQLITE_OPTIONS
    if TIMEOUT in os.environ:
        options["timeout"] = float(os.environ[TIMEOUT])
    if PRAGMAS in os.environ:
        options["init_command"] += f"; {os.environ[PRAGMAS]}"
    if LARGEST_FILE in os.environ:
        limit = int(os.environ[LARGEST_FILE])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def main(arguments: Sequence[str]) -> None:
    """Put the acts in their places and run the command."""
    import django
    from django.core.management import execute_from_command_line

    narrow()
    django.setup()
    from maintenance.steps import STEPS
    from tests.maintenance.staging import ACTS, module

    split = arguments.index("--")
    chosen = dict.fromkeys(STEPS, "nothing") | dict(pair.split("=") for pair in arguments[:split])
    for name, act in chosen.items():
        sys.modules[f"maintenance.steps.{name}"] = module(name, ACTS[act])
    execute_from_command_line(["manage.py", *arguments[split + 1 :]])


if __name__ == "__main__":
    main(sys.argv[1:])
