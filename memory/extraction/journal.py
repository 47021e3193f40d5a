"""Who writes down what an extraction does to rows, where somebody wants to take it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from django.db import models
from django.db.models import Max

from memory.bulk import update_rows


class ExtractionJournal(Protocol):
    """Called inside the transaction that writes the rows, so that both are stored or neither."""

    def created(self, model: type[models.Model], keys: Sequence[int]) -> None:
        """Write down that these rows were made."""

    def update(self, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Set `columns` of existing rows, each a primary key with a value for every column, and write it down."""


def insert_journaled(
    insert: Callable[[], int],
    model: type[models.Model],
    made_of: Callable[[], Mapping[str, Any]],
    *,
    journal: ExtractionJournal | None,
    using: str,
) -> int:
    """Call `insert`, tell the journal which rows it stored, return how many.

    Args:
        insert: stores rows of `model` and returns how many were new.
        model: their table.
        made_of: what they, and no rows that others store at the same time, have in common: filters by field.
        journal: who is told; nobody, and at no cost, where there is none.
        using: the database.

    """
    if journal is None:
        return insert()
    rows = model._default_manager.using(using)
    # Keys only ever grow, so that what is new lies above.
    newest = rows.aggregate(newest=Max("pk"))["newest"] or 0
    count = insert()
    if count:
        new = rows.filter(pk__gt=newest, **made_of()).order_by("pk")
        journal.created(model, list(new.values_list("pk", flat=True)))
    return count


def update_journaled(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    journal: ExtractionJournal | None,
    using: str,
) -> None:
    """Set `columns` of existing rows, by the journal where there is one."""
    if journal is None:
        update_rows(model, columns, rows, using=using)
    else:
        journal.update(model, columns, rows)
