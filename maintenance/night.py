"""What a step of a night is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connections, transaction

from maintenance.config import NightlyConfig
from maintenance.models import MaintenanceRun
from memory.embeddings import Embedder, embedder_version, load_embedder

# Rows that one transaction writes: few enough that another writer never waits for more than a moment.
ROWS_PER_TRANSACTION = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The surroundings of a step.

    Attributes:
        run: the row of this night.
        step: the name of the step.
        config: the resolved config.
        now: when the night began; every age is counted from here.
        using: the database. In a dry run it is one whose changes vanish afterwards.
        dry_run: whether files outside the database, too, must stay as they are.
        artifacts: ARTIFACTS_DIR.
        project: the folder from which the paths of configs start.
        say: hears what a person who watches should know.
        progress: called with a short text and a share done, 0 to 1.
        version: returns the embedder's version without loading it.
        load: returns the embedder.

    """

    run: MaintenanceRun
    step: str
    config: NightlyConfig
    now: datetime
    using: str
    dry_run: bool
    artifacts: Path
    project: Path
    say: Callable[[str], None]
    progress: Callable[[str, float], None] = lambda text, share: None
    version: Callable[[], str] = embedder_version
    load: Callable[[], Embedder] = load_embedder

    def isolated(self) -> AbstractContextManager[object]:
        """Inside a transaction, as in a dry run, keep a query that fails from failing all that come after it."""
        return transaction.atomic(using=self.using) if connections[self.using].in_atomic_block else nullcontext()


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step did.

    Attributes:
        counts: whole numbers by name; those of a dry run equal those of the real run that follows.
        details: plain JSON for the report (`examples`, ratios, paths) and for the next night (`marks`).
        skipped: why the step had nothing that it could do; empty where it ran.

    """

    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""


class PartlyDoneError(RuntimeError):
    """A part of a step failed, as the message says; `outcome` is what the others did."""

    def __init__(self, message: str, outcome: StepOutcome) -> None:
        super().__init__(message)
        self.outcome = outcome


Step = Callable[[Night], StepOutcome]
