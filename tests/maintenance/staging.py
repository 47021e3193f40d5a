"""Steps that do as a test says, in the place of the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType

from maintenance.night import Night, StepOutcome

Act = Callable[[Night], StepOutcome]


def module(name: str, act: Act) -> ModuleType:
    """Return what stands for the module of a step; `sys.modules` is its stage."""
    stage = ModuleType(f"maintenance.steps.{name}")
    setattr(stage, name, act)
    return stage


def archive_all(night: Night) -> StepOutcome:
    """Archive every pair that is not, as a real step does."""
    from maintenance.journal import change_rows
    from memory.models import SftPair

    pairs = SftPair.objects.using(night.using).filter(archived_at=None)
    changed = change_rows(
        night, ["archived_at"], [(pk, night.now) for pk in pairs.values_list("pk", flat=True)], among=pairs
    )
    return StepOutcome({"archived": len(changed)})


def fall(night: Night) -> StepOutcome:
    raise RuntimeError("fell\nover")


def sleep(night: Night) -> StepOutcome:
    print("asleep", flush=True)  # noqa: T201 - whoever started the process waits for it
    time.sleep(60)
    return StepOutcome()


def lose_the_session(night: Night) -> StepOutcome:
    from django.db import connections

    with connections[night.using].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    return StepOutcome()


def wait_for_a_lock(night: Night) -> StepOutcome:
    """Find the database locked by another connection for longer than the timeout."""
    import sqlite3
    from contextlib import closing

    from django.db import connections

    with closing(sqlite3.connect(connections[night.using].settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        return archive_all(night)


def fill(night: Night) -> StepOutcome:
    """Write more than the database may hold, in one transaction after another."""
    from memory.models import Conversation

    for number in range(1_000):
        Conversation.objects.using(night.using).create(
            source_system="test", external_id=f"{number}", title="long " * 50, metadata={"text": "long " * 5_000}
        )
    return StepOutcome()


def nothing(night: Night) -> StepOutcome:
    return StepOutcome()


ACTS: dict[str, Act] = {
    act.__name__: act for act in (archive_all, fall, sleep, lose_the_session, wait_for_a_lock, fill, nothing)
}
