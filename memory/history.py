"""The history of many pairs at once: what simple_history writes for one row, by one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from django.db import connections
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    Expression,
    F,
    Func,
    OuterRef,
    QuerySet,
    Value,
    When,
)
from django.utils import timezone

from memory.models import TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)

# Reasons of records that nobody's decision made: the first state, and what the machine had made of it.
FIRST_STORED = "as first stored"
AS_FOUND = "as found"
# Characters that a reason has room for.
REASON_LENGTH = 100


class _Same(Func):
    """Two columns that hold the same, or both nothing."""

    arg_joiner = " IS NOT DISTINCT FROM "
    template = "(%(expressions)s)"
    output_field = BooleanField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return what SQLite has said since before the standard's words.

        The plus keeps it from looking for the record by a column that is empty in most of them.
        """
        return self.as_sql(compiler, connection, arg_joiner=" IS ", template="(+%(expressions)s)", **context)


def keep_originals(pairs: QuerySet[PairT]) -> int:
    """Write down the stored state of those `pairs` that have no history yet; return how many there were.

    Pairs are inserted in bulk, without history. Their first state has to be on record before a person's first
    change, or that change could never be undone. One query, whatever the count.
    """
    known = pairs.model.history.filter(id=OuterRef("pk"))
    return record(pairs.filter(~Exists(known)), kind="+", user=None, reason=FIRST_STORED)


def keep_states(pairs: QuerySet[PairT]) -> int:
    """Write down the stored state of those `pairs` whose history does not end with it; return how many there were.

    Training and nights change pairs without a record in this history. With the state that a person found on record, the
    difference between two records is what that person's decision changed, and nothing else. One query, whatever the
    count.
    """
    known = pairs.model.history.filter(id=OuterRef("pk"))
    is_first = ~Exists(known)
    return record(
        pairs.filter(~is_on_record(pairs.model)),
        kind=Case(When(is_first, then=Value("+")), default=Value("~"), output_field=CharField()),
        user=None,
        reason=Case(When(is_first, then=Value(FIRST_STORED)), default=Value(AS_FOUND), output_field=CharField()),
    )


def is_on_record(model: type[TrainingPair]) -> Exists:
    """Return the condition of a query on `model` that the pair's history ends with its stored state."""
    records = model.history.model
    newer = records._default_manager.filter(id=OuterRef("id"), history_id__gt=OuterRef("history_id"))
    columns = [field.attname for field in records.tracked_fields if not field.primary_key]
    same = (_Same(F(name), OuterRef(name)) for name in columns)
    return Exists(records._default_manager.filter(~Exists(newer), *same, id=OuterRef("pk")))


def record(
    pairs: QuerySet[PairT],
    *,
    kind: Literal["+", "~"] | Expression,
    user: User | AnonymousUser | None,
    reason: str | Expression,
) -> int:
    """Write the present state of `pairs` into their history; return how many there were.

    `kind` is "+" for a first state, "~" for a change; `reason` has at most 100 characters; both may be expressions over
    the pairs. One query, whatever the count: the rows go from table to table without passing through Python.
    """
    history = pairs.model.history.model
    tracked = [field.attname for field in history.tracked_fields]
    stamp = {
        "history_date": Value(timezone.now(), output_field=DateTimeField()),
        "history_type": Value(kind) if isinstance(kind, str) else kind,
        "history_change_reason": Value(reason) if isinstance(reason, str) else reason,
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


def differing_columns(record: Any, other: Any) -> list[str]:
    """Return the columns in which a record of a pair's history differs from another one, or from the pair."""
    names = [field.attname for field in record.tracked_fields]
    return [name for name in names if getattr(record, name) != getattr(other, name)]
