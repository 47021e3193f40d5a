"""The history of many pairs at once: what simple_history writes for one row, by one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

from django.db import connections
from django.db.models import BigIntegerField, DateTimeField, Exists, OuterRef, QuerySet, Value
from django.utils import timezone

from memory.models import TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)


def keep_originals(pairs: QuerySet[PairT]) -> int:
    """Write down the stored state of those `pairs` that have no history yet; return how many there were.

    Pairs are inserted in bulk, without history. Their first state has to be on record before a person's first
    change, or that change could never be undone. One query, whatever the count.
    """
    known = pairs.model.history.filter(id=OuterRef("pk"))
    return record(pairs.filter(~Exists(known)), kind="+", user=None, reason="as first stored")


def record(pairs: QuerySet[PairT], *, kind: Literal["+", "~"], user: User | AnonymousUser | None, reason: str) -> int:
    """Write the present state of `pairs` into their history; return how many there were.

    `kind` is "+" for a first state, "~" for a change; `reason` has at most 100 characters. One query, whatever the
    count: the rows go from table to table without passing through Python.
    """
    history = pairs.model.history.model
    tracked = [field.attname for field in history.tracked_fields]
    stamp = {
        "history_date": Value(timezone.now(), output_field=DateTimeField()),
        "history_type": Value(kind),
        "history_change_reason": Value(reason),
        "history_user_id": Value(user.pk if user else None, output_field=BigIntegerField()),
    }
    connection = connections[pairs.db]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(history._meta.get_field(name).column) for name in (*tracked, *stamp))
    select, parameters = pairs.order_by().values_list(*tracked, *stamp.values()).query.get_compiler(pairs.db).as_sql()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(history._meta.db_table)} ({columns}) {select}",
            parameters,
        )
        return int(cursor.rowcount)
