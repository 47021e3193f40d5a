"""Rows changed with what was there before written down, so that a night can be undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db import models, transaction
from django.utils import timezone

from maintenance.models import RowChange
from maintenance.night import Night
from memory.bulk import insert_rows, key_list, reserve_ids, update_rows
from memory.models import TrainingPair

ModelT = TypeVar("ModelT", bound=models.Model)

_COLUMNS = ("run_id", "step", "table", "row_id", "before", "after", "history_id", "changed_at")


def change_rows(
    night: Night,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    among: models.QuerySet[ModelT],
) -> list[int]:
    """Set `columns` of existing rows and write the journal, in one transaction; return the keys that changed.

    Each of `rows` is a primary key with a value for every column (field attribute names). Rows that are no longer
    `among` those meant, as after a person's edit since they were read, are left alone, and so are rows that hold the
    values already. To be called with at most `ROWS_PER_TRANSACTION` rows.
    """
    wanted = {int(pk): tuple(values) for pk, *values in rows}
    if not wanted:
        return []
    model, using = among.model, night.using
    keys = key_list(list(wanted), using=using)
    with transaction.atomic(using=using):
        # The lock comes first, by itself: a query that waits for one goes on with what it had read before.
        list(model._default_manager.using(using).filter(pk__in=keys).order_by("pk").select_for_update().values("pk"))
        found = among.using(using).filter(pk__in=keys).order_by().values_list("pk", *columns)
        before = {pk: tuple(values) for pk, *values in found if tuple(values) != wanted[pk]}
        update_rows(model, columns, [(pk, *wanted[pk]) for pk in before], using=using)
        _write(
            night,
            model,
            (
                (pk, dict(zip(columns, values, strict=True)), dict(zip(columns, wanted[pk], strict=True)))
                for pk, values in before.items()
            ),
        )
    return sorted(before)


def create_rows(
    night: Night, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> list[int]:
    """Insert `rows`, with a value for every column, and write the journal; return their keys in order."""
    if not rows:
        return []
    using = night.using
    with transaction.atomic(using=using):
        keys = list(reserve_ids(model, len(rows), using=using))
        insert_rows(model, ("id", *columns), [(key, *row) for key, row in zip(keys, rows, strict=True)], using=using)
        note_created(night, model, keys)
    return keys


def note_created(night: Night, model: type[models.Model], keys: Iterable[int]) -> None:
    """Write down that the night has made these rows."""
    with transaction.atomic(using=night.using):
        _write(night, model, ((key, None, {}) for key in keys))


def _write(
    night: Night, model: type[models.Model], rows: Iterable[tuple[int, dict[str, Any] | None, dict[str, Any]]]
) -> None:
    now, newest = timezone.now(), _newest_history(model, using=night.using)
    insert_rows(
        RowChange,
        _COLUMNS,
        (
            (night.run.pk, night.step, model._meta.label_lower, key, _plain(before), _plain(after), newest, now)
            for key, before, after in rows
        ),
        using=night.using,
    )


def _newest_history(model: type[models.Model], *, using: str) -> int:
    """Return the key of the newest record in the history of `model`, 0 where it keeps none.

    Whoever writes the history of a row holds the row's lock, so that a later change of the rows locked here gets a
    higher key.
    """
    if not issubclass(model, TrainingPair):
        return 0
    newest = model.history.using(using).order_by("-history_id").values_list("history_id", flat=True).first()
    return int(newest or 0)


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the values as JSON has them; times keep their microseconds."""
    if values is None:
        return None
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
