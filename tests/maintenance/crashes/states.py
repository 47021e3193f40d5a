"""What a night left: compared without keys and times that two nights do not share, and held to its promises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, models

from maintenance.archive.files import archive_folder, check_archive, finished_files, leftovers, records_of
from maintenance.archive.records import CHANNELS
from maintenance.models import MaintenanceRun, MaintenanceStep, Proposal, RowChange
from memory.models import PairEmbedding, PreferencePair, ReplayEntry, SftPair
from tests.maintenance.crashes.memories import TRAINED
from training.artifacts import active_adapter
from training.models import PairUse, TrainingRun

PAIRS = (SftPair, PreferencePair)
# Columns that name a pair, by the table.
_LINKS: Mapping[str, type[models.Model]] = {
    "sft_pair_id": SftPair,
    "other_sft_pair_id": SftPair,
    "preference_pair_id": PreferencePair,
    "other_preference_pair_id": PreferencePair,
}
# What two nights do not share: keys of rows that they made, and moments that they looked at the clock.
_OWN = {"id", "run_id", "history_id", "history_date", "changed_at"}

# Vectors follow from the texts; an archive file stays when its pairs come back; rubbish does not come back.
NOT_UNDONE = frozenset({"PairEmbedding", "archived", "files", "expired"})

State = dict[str, list[str]]


class Names:
    """A name for each pair that does not depend on its key, those in archive files included."""

    def __init__(self, artifacts: Path) -> None:
        self._names: dict[type[models.Model], dict[int, str]] = {}
        for model in PAIRS:
            rows = model._default_manager.values_list("pk", "created_at", "content_hash")
            self._names[model] = {pk: _name(said_at.isoformat(), known) for pk, said_at, known in rows}
        stored = self._all()
        for path in finished_files(archive_folder(artifacts)):
            for record in records_of(path):
                name = _name(record.pair["created_at"], record.pair["content_hash"])
                self._names[record.channel.model].setdefault(record.key, name)
        self.archived = self._all() - stored

    def keys(self) -> set[str]:
        """Return the tables and keys of all pairs, stored or archived."""
        return {f"{model.__name__} {key}" for model, names in self._names.items() for key in names}

    def of(self, model: type[models.Model], key: int | None) -> str | None:
        return None if key is None else self._names[model].get(key, f"gone {key}")

    def _all(self) -> set[str]:
        return {f"{model.__name__} {name}" for model, names in self._names.items() for name in names.values()}


def _name(said_at: str, content_hash: str) -> str:
    return f"{said_at} {content_hash[:8]}"


def state(artifacts: Path) -> State:
    """Return the rows that a night is about, by table, each as a line; sorted."""
    names = Names(artifacts)
    tables: list[type[models.Model]] = [
        *(SftPair, PreferencePair, SftPair.history.model, PreferencePair.history.model),
        *(PairEmbedding, PairUse, ReplayEntry, Proposal),
    ]
    return {table.__name__: sorted(_lines(table, names)) for table in tables} | {
        "archived": sorted(names.archived),
        "files": sorted(_files(artifacts)),
        "expired": [
            f"{RowChange.objects.filter(run__started_at__lt=run.started_at).count()} changes"
            for run in MaintenanceRun.objects.order_by("-pk")[:1]
        ]
        + [f"{Session.objects.count()} sessions"],
    }


def _files(artifacts: Path) -> Iterator[str]:
    """Yield the files that are not named for the night that wrote them, and not written anew by each."""
    for path in artifacts.rglob("*"):
        where = path.relative_to(artifacts)
        if path.is_file() and where.parts[0] != "archive" and where.name != ".lock" and "2026-06" not in str(where):
            yield str(where)


def _lines(table: type[models.Model], names: Names) -> Iterator[str]:
    model = next((pairs for pairs in PAIRS if table in (pairs, pairs.history.model)), None)
    for row in table._default_manager.values():
        told: dict[str, Any] = {}
        for column, value in row.items():
            if column == "merged_into_id" and model is not None:
                told[column] = names.of(model, value)
            elif column in _LINKS:
                told[column] = names.of(_LINKS[column], value)
            elif column == "metadata" and model is not None:
                told[column] = _without_keys(value, model, names)
            elif isinstance(value, bytes | memoryview):
                told[column] = hashlib.sha256(value).hexdigest()[:8]
            elif column not in _OWN and not (table is Proposal and column == "created_at"):
                told[column] = value
        if model is not None and table is not model:
            told["pair"] = names.of(model, row["id"])
        yield repr(told)


def _without_keys(metadata: dict[str, Any], model: type[models.Model], names: Names) -> dict[str, Any]:
    merged = [{**entry, "pair": names.of(model, entry["pair"])} for entry in metadata.get("merged", ())]
    return {**metadata, "merged": sorted(merged, key=repr)} if merged else metadata


def broken_promises(artifacts: Path, *, before: set[str]) -> list[str]:
    """Return what a night may never leave, not even one that was killed; `before` are the keys of the pairs before."""
    found = [f"lost: {key}" for key in sorted(before - Names(artifacts).keys())]
    for model in PAIRS:
        rows = model._default_manager.all()
        found += [f"empty group: {pk}" for pk in rows.filter(merged_into__merged_into__isnull=False).values_list("pk")]
        link = "sft_pair" if model is SftPair else "preference_pair"
        unrecorded = rows.filter(is_used=True).exclude(pk__in=PairUse.objects.exclude(**{link: None}).values(link))
        found += [f"used without a ledger row: {pk}" for pk in unrecorded.values_list("pk", flat=True)]
        double = PairEmbedding.objects.exclude(**{link: None}).values(link).annotate(count=models.Count("pk"))
        found += [f"two vectors: {row[link]}" for row in double.filter(count__gt=1)]
    for path in finished_files(archive_folder(artifacts)):
        check_archive(path, artifacts=artifacts, using="default")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            problems = [*cursor.execute("PRAGMA quick_check"), *cursor.execute("PRAGMA foreign_key_check")]
        found += [f"database: {problem}" for problem in problems if problem != ("ok",)]
    return found


def unfinished(artifacts: Path) -> list[str]:
    """Return what a night that ran to its end may not leave of one that was killed before it."""
    found = [f"unfinished: {path.name}" for path in leftovers(archive_folder(artifacts))]
    # What had a temporary name goes with housekeeping, after a day.
    hidden = [path for path in artifacts.rglob(".*") if path.name != ".lock" and path.suffix != ".partial"]
    found += [f"left: {path.relative_to(artifacts)}" for path in hidden]
    running = MaintenanceStep.objects.filter(status="running").values_list("name", flat=True)
    found += [f"running: {name}" for name in running]
    statuses = list(MaintenanceRun.objects.order_by("-pk").values_list("status", flat=True))[:2]
    if statuses[0] != "succeeded":
        failed = MaintenanceStep.objects.filter(status="failed").values_list("name", "error")
        found.append(f"the next night: {statuses[0]} {list(failed)}")
    twice: dict[tuple[str, int], int] = {}
    for path in finished_files(archive_folder(artifacts)):
        for record in records_of(path):
            twice[record.name_and_key] = twice.get(record.name_and_key, 0) + 1
    found += [f"exported {count} times: {key}" for key, count in twice.items() if count > 1]
    for channel in CHANNELS.values():
        exported = [key for name, key in twice if name == channel.name]
        present = channel.model._default_manager.filter(pk__in=exported).values_list("pk", flat=True)
        found += [f"exported and there still: {channel.name} {pk}" for pk in present]
    return found


def untrained(artifacts: Path) -> list[str]:
    """Return what is wrong with what training left."""
    root = artifacts / TRAINED
    new = TrainingRun.objects.filter(adapter__startswith=str(root)) | TrainingRun.objects.exclude(status="succeeded")
    statuses = {run.pk: str(run.status) for run in new}
    found = [f"run {pk}: {status}" for pk, status in statuses.items() if status not in {"succeeded", "failed"}]
    last = new.filter(status="succeeded").order_by("-pk").first()
    if last is None:
        return [*found, f"nothing trained: {statuses}"]
    if active_adapter(root) != Path(last.adapter).resolve():
        found.append(f"active: {active_adapter(root)} instead of {last.adapter}")
    manifest = json.loads((Path(last.adapter) / "manifest.json").read_text())
    if not manifest["adapter_checksum"]:
        found.append("an adapter without its checksum")
    for model, link in ((SftPair, "sft_pair"), (PreferencePair, "preference_pair")):
        consumed = PairUse.objects.filter(run__status="succeeded").exclude(**{link: None}).values(link)
        idle = model._default_manager.filter(pk__in=consumed, is_used=False).values_list("pk", flat=True)
        found += [f"trained and not marked: {pk}" for pk in idle]
        free = model._default_manager.filter(is_used=True).exclude(pk__in=consumed).values_list("pk", flat=True)
        found += [f"marked by a run that came to nothing: {pk}" for pk in free]
    return found


def differences(found: State, expected: State, *, besides: Collection[str] = ()) -> list[str]:
    """Return where two states differ, the first line of each table."""
    told = []
    for table in expected:
        if table in besides or found[table] == expected[table]:
            continue
        missing = [line for line in expected[table] if line not in found[table]]
        added = [line for line in found[table] if line not in expected[table]]
        told.append(f"{table}: {len(missing)} missing, {len(added)} more: {[*missing[:1], *added[:1]]}")
    return told
