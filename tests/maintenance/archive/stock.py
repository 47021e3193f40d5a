"""Pairs that were archived long ago, with everything that can belong to a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, models

from maintenance.archive.records import CHANNELS
from maintenance.models import MaintenanceRun, Proposal
from maintenance.night import Night, StepOutcome
from maintenance.steps.retire import retire
from memory.history import keep_originals, record
from memory.models import PairEmbedding, PreferencePair, SftPair, TrainingPair
from tests.maintenance import nights
from tests.memory import rows
from training.models import PairUse, TrainingRun

NOW = datetime(2026, 6, 1, 3, 0, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
# Nothing but the export.
EXPORT_ALONE = {"retention_days": None, "max_uses": None, "rejected_days": None}
# All tables that pairs and what belongs to them are in.
TABLES: Sequence[type[models.Model]] = (
    *(SftPair, PreferencePair, PairEmbedding, PairUse, Proposal),
    *(SftPair.history.model, PreferencePair.history.model),
)
# PostgreSQL takes neither NUL nor half of a surrogate pair into its JSON.
ODD = "\ud83d \0" if connection.vendor == "sqlite" else "\uffff"


def retiring(folder: Path, *, of: MaintenanceRun | None = None, dry_run: bool = False, **config: Any) -> Night:
    """Return a night whose step exports, and archives nothing unless `config` says so."""
    night = nights.night("retire", of=of, now=NOW, dry_run=dry_run, retire={**EXPORT_ALONE, **config})
    return replace(night, artifacts=folder)


def exported(folder: Path, **config: Any) -> StepOutcome:
    return retire(retiring(folder, **config))


def files(folder: Path) -> list[Path]:
    """Return the archive files, whatever else lies beside them."""
    return sorted((folder / "archive").glob("*.jsonl.gz"))


def everything(folder: Path) -> list[str]:
    """Return the names of all that lies in the archive's folder."""
    return sorted(path.name for path in (folder / "archive").glob("*"))


def dump() -> list[list[dict[str, Any]]]:
    """Return all rows of all tables involved, every column of them."""
    return [[_plain(row) for row in table._default_manager.order_by("pk").values()] for table in TABLES]


def keys(*tables: type[models.Model]) -> list[list[int]]:
    return [list(table._default_manager.order_by("pk").values_list("pk", flat=True)) for table in tables]


def stock(*, sft: int = 3, preference: int = 2) -> tuple[list[SftPair], list[PreferencePair]]:
    """Store archived pairs of both channels with all that belongs to them, and a proposal in each channel."""
    talk = rows.conversation("old")
    run = TrainingRun.objects.create(config_path="run.yaml", config={}, status=TrainingRun.Status.SUCCEEDED)
    curator, _ = User.objects.get_or_create(username="curator")
    memory = []
    for number in range(sft):
        pair = rows.sft_pair(
            instruction=f"Question {number}?\u2028Grüße \U0001f600",
            response=f"Answer {number}.",
            archived_at=LONG_AGO,
            created_at=LONG_AGO - timedelta(microseconds=number + 1),
            conversation=talk,
            user_message=rows.message(talk, f"q{number}", role="user"),
            assistant_message=rows.message(talk, f"a{number}"),
            confidence=1 / 3,
            reward_intensity=0.1 + 0.2,
            loss=1e-17 + number,
            context=[{"role": "user", "content": f"Hm {ODD}"}],
            metadata={"z": [None, 1.5, {"a": ODD}], "a": number} if number else {},
            is_used=True,
            used_timestamp=LONG_AGO,
            training_epoch=2,
        )
        belong(pair, run, curator)
        memory.append(pair)
    preferences = []
    for number in range(preference):
        preferred = rows.preference_pair(
            chosen=f"Plain {number}.", archived_at=LONG_AGO, conversation=talk, margin=2 / 3, metadata={"n": number}
        )
        belong(preferred, run, curator)
        preferences.append(preferred)
    if sft > 1:
        propose(memory[0], memory[1], decided_by=curator, status="dismissed")
    if preference > 1:
        propose(preferences[1], preferences[0])
    return memory, preferences


def belong(pair: TrainingPair, run: TrainingRun, curator: User | None) -> None:
    """Give a pair an embedding, a history, and two rows in the ledger."""
    link = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    PairEmbedding.objects.create(
        **{link: pair}, embedder="tiny", dimension=3, vector=bytes([pair.pk % 256, 0, 255, 10, 13, 128]), cluster=4
    )
    for step in (1, 2):
        PairUse.objects.create(
            **{link: pair}, run=run, step=step, epoch=0, weight=1 / 7, content_hash=pair.content_hash, used_at=LONG_AGO
        )
    chosen = type(pair)._default_manager.filter(pk=pair.pk)
    keep_originals(chosen)
    record(chosen, kind="~", user=curator, reason="looked at")


def propose(pair: TrainingPair, other: TrainingPair, **fields: Any) -> Proposal:
    link = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    values = {"kind": "correction", "similarity": 0.1 + 0.2, "reason": "names: Ä / B", **fields}
    return Proposal.objects.create(**{link: pair, f"other_{link}": other}, **values)


def in_files(folder: Path) -> set[tuple[str, int]]:
    """Return channel and key of all pairs in archive files that have their manifest."""
    from maintenance.archive.files import finished_files, records_of

    return {each.name_and_key for path in finished_files(folder / "archive") for each in records_of(path)}


def in_database() -> set[tuple[str, int]]:
    return {(name, pk) for name, channel in CHANNELS.items() for (pk,) in channel.model.objects.values_list("pk")}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
