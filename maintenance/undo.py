"""What a night did to rows, put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from maintenance.archive.files import ArchiveError, check_archive
from maintenance.archive.restoring import restore_files
from maintenance.conflicts import LINKS, conflicts, stored_value
from maintenance.models import ArchiveFile, Clustering, MaintenanceRun, MaintenanceStep, Proposal, RowChange
from maintenance.night import ROWS_PER_TRANSACTION
from memory.bulk import key_list, update_rows
from memory.extraction.sources import extract_sources_again
from memory.models import PairEmbedding, PreferencePair, SftPair, TrainingPair
from memory.pair_vectors import forget_vectors

# What such steps leave is no row to put back; this is what to do instead.
NOT_IN_ROWS: Mapping[str, str] = {
    "embed": "vectors follow from the texts and stay",
    "train": "the adapter and the ledger stay; to go back to an earlier adapter, let the link `active` beside it point "
    "at that one's folder",
    "evaluate": "measurements stay; the link `active` in the adapters' folder says which adapter is in use",
    "housekeeping": "what it removed is gone; the backups under ARTIFACTS_DIR/maintenance/backups have the rows",
}

# The channels' names in archive files.
_LABELS = {"sft": SftPair._meta.label_lower, "preference": PreferencePair._meta.label_lower}


class UnknownNightError(ValueError):
    """There is no such night; says which there are."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was left as it is, and why."""

    step: str
    table: str
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What an undo came to.

    Attributes:
        run: the number of the night.
        restored: rows put back or taken away, by step and table.
        refused: rows that somebody changed or relied on since.
        notes: what else there is to know, in lines.

    """

    run: int
    restored: Mapping[str, Mapping[str, int]]
    refused: Sequence[Refusal]
    notes: Sequence[str]


def find_night(number: str, *, using: str) -> MaintenanceRun:
    """Return the night of that number, or the newest for `last`.

    Raises:
        UnknownNightError: there is none.

    """
    nights = MaintenanceRun.objects.using(using).order_by("-pk")
    newest = nights.first()
    if newest is None:
        raise UnknownNightError(f"night: got {number}, but no night has been yet")
    if number == "last":
        return newest
    found = nights.filter(pk=int(number)).first() if number.isdecimal() else None
    if found is None:
        raise UnknownNightError(f"night: got {number}, allowed are numbers of nights up to {newest.pk}, and last")
    return found


def undo(run: MaintenanceRun, *, steps: Sequence[str] | None = None, artifacts: Path, using: str) -> UndoReport:
    """Put back what the night did to rows, the last step and the newest change first.

    A row is left as it is, and reported, where a person edited it since, where it does not hold any more what the night
    wrote, or where a row that the night made has come to be relied on. Everything goes in short transactions, each of
    which notes what it has put back: a killed undo is completed by the next one, and a second one finds nothing to do.
    From the first row on the step counts as undone (`undone_at`), refusals or not: its marks hold no more.

    Args:
        run: the night, which has ended.
        steps: names of the steps to undo; all where none are given.
        artifacts: ARTIFACTS_DIR.
        using: the database.

    """
    restored: dict[str, Mapping[str, int]] = {}
    refused: list[Refusal] = []
    notes: list[str] = []
    taken = MaintenanceStep.objects.using(using).filter(run=run).order_by("-pk")
    for step in taken if steps is None else taken.filter(name__in=steps):
        counts: Counter[str] = Counter()
        if step.name == "retire":
            counts.update(_return_exported(step, refused, artifacts=artifacts, using=using))
        if step.name == "recluster":
            counts.update(_return_clustering(step, using=using))
        counts.update(_put_back_all(step, refused, using=using))
        if counts:
            restored[step.name] = dict(sorted(counts.items()))
        if step.name in NOT_IN_ROWS and step.status != MaintenanceStep.Status.SKIPPED:
            notes.append(f"{step.name}: {NOT_IN_ROWS[step.name]}")
    return UndoReport(run=run.pk, restored=restored, refused=refused, notes=notes)


def _put_back_all(step: MaintenanceStep, refused: list[Refusal], *, using: str) -> Counter[str]:
    """Put back all changes of a step that can be; add those that cannot to `refused`.

    What blocks a row may be a row that goes back later, as with the pair that stands for a merged one. Hence what was
    refused is tried again for as long as that frees anything.
    """
    restored: Counter[str] = Counter()
    while True:
        freed: Counter[str] = Counter()
        left: list[Refusal] = []
        below: int | None = None
        while True:
            with transaction.atomic(using=using):
                changes = _next_changes(step, below, using=using)
                if not changes:
                    break
                counts, reasons = _put_back(changes, using=using)
                _note_undone(step, [change.pk for change in changes if change.pk not in reasons], using=using)
            below = changes[-1].pk
            freed += counts
            left += [
                Refusal(step.name, change.table, change.row_id, reasons[change.pk])
                for change in changes
                if change.pk in reasons
            ]
        restored += freed
        if not freed or not left:
            refused += left
            return restored


def _next_changes(step: MaintenanceStep, below: int | None, *, using: str) -> list[RowChange]:
    changes = RowChange.objects.using(using).filter(run=step.run_id, step=step.name, undone_at=None)
    if below is not None:
        changes = changes.filter(pk__lt=below)
    return list(changes.order_by("-pk")[:ROWS_PER_TRANSACTION])


def _note_undone(step: MaintenanceStep, changes: Sequence[int], *, using: str) -> None:
    if not changes:
        return
    RowChange.objects.using(using).filter(pk__in=key_list(changes, using=using)).update(undone_at=timezone.now())
    if step.undone_at is None:
        step.undo(using=using)


def _put_back(changes: Sequence[RowChange], *, using: str) -> tuple[Counter[str], dict[int, str]]:
    """Put the rows of one batch back; return how many by table, and by the key of the change why others are left."""
    counts: Counter[str] = Counter()
    reasons: dict[int, str] = {}
    by_table: dict[str, list[RowChange]] = {}
    for change in changes:
        by_table.setdefault(change.table, []).append(change)
    for table, of_table in by_table.items():
        model = apps.get_model(table)
        if extracted := [change.row_id for change in of_table if change.step == "extract"]:
            # Before any of these rows is locked, as extraction does.
            extract_sources_again(model, extracted, using=using)
        rows = _locked_rows(model, of_table, using=using)
        # A row that was made and is gone needs nothing more. Nor does the label of a vector that is gone: the next one
        # of its pair, which follows from the texts, gets its own.
        may_be_gone = model is PairEmbedding
        present = [change for change in of_table if change.row_id in rows or not (may_be_gone or change.before is None)]
        found = conflicts(model, present, rows=rows, using=using) if present else {}
        free = [change for change in present if change.pk not in found]
        found |= _restore(model, free, using=using)
        # A vector is that of the text that goes, not of the one that comes back.
        texts = [change.row_id for change in free if change.pk not in found and "content_hash" in change.after]
        if issubclass(model, TrainingPair) and texts:
            forget_vectors(model, texts, using=using)
        _take_away(model, [change.row_id for change in free if change.before is None], using=using)
        counts[table] = len(present) - len(found)
        reasons |= found
    return +counts, reasons


def _locked_rows(model: type[models.Model], changes: Sequence[RowChange], *, using: str) -> dict[int, dict[str, Any]]:
    """Return the rows as they are, by key, with the columns that matter; they stay so to the transaction's end."""
    columns = {name for change in changes for name in change.after}
    if issubclass(model, TrainingPair):
        columns |= {"is_used", "review_status"}
    keys = key_list([change.row_id for change in changes], using=using)
    # The lock comes first, by itself: a query that waits for one goes on with what it had read before.
    rows = model._default_manager.using(using).filter(pk__in=keys).order_by("pk")
    list(rows.select_for_update().values("pk"))
    return {row["pk"]: row for row in rows.values("pk", *sorted(columns))}


def _restore(model: type[models.Model], changes: Sequence[RowChange], *, using: str) -> dict[int, str]:
    """Write what was there before; return the changes that the table's constraints refuse."""
    refused: dict[int, str] = {}
    for columns, alike in _by_columns(changes):
        try:
            _write(model, columns, alike, using=using)
        except IntegrityError:
            for change in alike:
                try:
                    _write(model, columns, [change], using=using)
                except IntegrityError as error:
                    refused[change.pk] = f"{', '.join(columns)}: what was there before does not fit any more: {error}"
    return refused


def _by_columns(changes: Iterable[RowChange]) -> Iterator[tuple[tuple[str, ...], list[RowChange]]]:
    grouped: dict[tuple[str, ...], list[RowChange]] = {}
    for change in changes:
        if change.before is not None:
            grouped.setdefault(tuple(sorted(change.before)), []).append(change)
    yield from grouped.items()


def _write(model: type[models.Model], columns: Sequence[str], changes: Sequence[RowChange], *, using: str) -> None:
    rows = [
        (change.row_id, *(_as_written(model, name, (change.before or {})[name]) for name in columns))
        for change in changes
    ]
    with transaction.atomic(using=using):
        update_rows(model, columns, rows, using=using)


def _as_written(model: type[models.Model], column: str, value: Any) -> Any:
    field = model._meta.get_field(column)
    if value is None and isinstance(field, models.JSONField) and not field.null:
        # JSON's null, which is a value; None alone would be SQL's.
        return models.Value(None, models.JSONField())
    return stored_value(model, column, value)


def _take_away(model: type[models.Model], keys: Sequence[int], *, using: str) -> None:
    """Delete rows that the night made, with the vectors and the open proposals that came of them."""
    if not keys:
        return
    chosen = key_list(keys, using=using)
    if model in LINKS:
        link = LINKS[model]
        PairEmbedding.objects.using(using).filter(**{f"{link}__in": chosen}).delete()
        named = models.Q(**{f"{link}__in": chosen}) | models.Q(**{f"other_{link}__in": chosen})
        Proposal.objects.using(using).filter(named).delete()
    # Nothing else refers to them, and the history would keep the texts of pairs that nobody ever saw.
    model._default_manager.using(using).filter(pk__in=chosen)._raw_delete(using)


def _return_clustering(step: MaintenanceStep, *, using: str) -> Counter[str]:
    if not Clustering.objects.using(using).filter(run=step.run_id, undone_at=None).exists():
        return Counter()
    # Packed labels and arrays are no business of an undo without any.
    from maintenance.clustering.restoring import restore_previous

    restore_previous(step.run, using=using)
    if step.undone_at is None:
        step.undo(using=using)
    return Counter({Clustering._meta.label_lower: 1})


def _return_exported(step: MaintenanceStep, refused: list[Refusal], *, artifacts: Path, using: str) -> Counter[str]:
    """Bring back what the step moved into archive files; add what cannot come back to `refused`."""
    counts: Counter[str] = Counter()
    usable: list[ArchiveFile] = []
    for file in ArchiveFile.objects.using(using).filter(run=step.run_id, restored_at=None).order_by("-pk"):
        try:
            check_archive(artifacts / file.path, artifacts=artifacts, using=using)
        except ArchiveError as error:
            refused.append(Refusal(step.name, ArchiveFile._meta.label_lower, file.pk, str(error)))
        else:
            usable.append(file)
    for report in restore_files(usable, artifacts=artifacts, using=using):
        counts.update({_LABELS[channel]: count for channel, count in report.restored.items()})
        refused += [Refusal(step.name, _LABELS[each.channel], each.pair, each.reason) for each in report.refused]
    if counts and step.undone_at is None:
        step.undo(using=using)
    return +counts
