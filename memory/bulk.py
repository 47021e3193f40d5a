"""Rows into a table by one prepared statement: what `bulk_create` does, without a query per hundred rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import connections, models, router, transaction


def insert_rows(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    using: str | None = None,
    ignore_conflicts: bool = False,
) -> int:
    """Insert `rows`, each with a value for every field attribute name in `columns`; return how many were stored.

    One `executemany`, whatever the count. Values are Python values as a model instance would hold them. With
    `ignore_conflicts`, a row that would break a unique constraint is passed over, and not counted.
    """
    alias = using or router.db_for_write(model)
    connection = connections[alias]
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    fields = [by_attname[name] for name in columns]
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    # The names come from the model's own metadata.
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({places})"  # noqa: S608
    if ignore_conflicts:
        statement += " ON CONFLICT DO NOTHING"
    converters = _converters(fields, connection)
    prepared = [_converted(row, converters) for row in rows]
    if not prepared:
        return 0
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.executemany(statement, prepared)
        return int(cursor.rowcount)


def update_rows(
    model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]], *, using: str | None = None
) -> int:
    """Set `columns` of existing rows; each of `rows` is a primary key and a value for every column; return the count.

    One `executemany`, whatever the count. Values are Python values as a model instance would hold them.
    """
    alias = using or router.db_for_write(model)
    connection = connections[alias]
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    fields = [by_attname[name] for name in columns]
    quote = connection.ops.quote_name
    changes = ", ".join(f"{quote(str(field.column))} = %s" for field in fields)
    key = quote(str(model._meta.pk.column))
    # The names come from the model's own metadata.
    statement = f"UPDATE {quote(model._meta.db_table)} SET {changes} WHERE {key} = %s"  # noqa: S608
    converters = _converters(fields, connection)
    prepared = [(*_converted(values, converters), pk) for pk, *values in rows]
    if not prepared:
        return 0
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.executemany(statement, prepared)
        return int(cursor.rowcount)


def reserve_ids(model: type[models.Model], count: int, *, using: str | None = None) -> range | list[int]:
    """Return `count` primary keys that no other writer will get; to be called inside a transaction.

    With keys at hand a whole tree of rows can be inserted at once, parents and children together.
    """
    alias = using or router.db_for_write(model)
    connection = connections[alias]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # Django's keys are AUTOINCREMENT: SQLite hands out none at or below the number kept here.
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s RETURNING seq", [count, table])
            row = cursor.fetchone()
            if row is None:
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, count])
            last = row[0] if row else count
            return range(last - count + 1, last + 1)
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [table, model._meta.pk.column, count],
        )
        return [row[0] for row in cursor.fetchall()]


def pass_ids(model: type[models.Model], highest: int, *, using: str | None = None) -> None:
    """Let the keys that the database hands out from now on be above `highest`, as after rows came with their own."""
    alias = using or router.db_for_write(model)
    connection = connections[alias]
    if connection.vendor == "sqlite":
        # It looks at the keys that are inserted.
        return
    sequence = [model._meta.db_table, model._meta.pk.column]
    with connection.cursor() as cursor:
        # Never downwards, as Django's own statement would: there are keys of rows that lie in archive files.
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s) "
            "WHERE coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass), 0) < %s",
            [*sequence, highest, *sequence, highest],
        )


def key_list(keys: Sequence[int], *, using: str) -> models.expressions.RawSQL:
    """Return `keys` as a subquery for `pk__in`: one parameter, however many there are."""
    if connections[using].vendor == "sqlite":
        return models.expressions.RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(keys))])
    return models.expressions.RawSQL("SELECT unnest(%s::bigint[])", [list(keys)])


def text_list(values: Sequence[str], *, using: str) -> models.expressions.RawSQL:
    """Return `values` as a subquery for `__in`: one parameter, however many there are."""
    if connections[using].vendor == "sqlite":
        return models.expressions.RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(values))])
    return models.expressions.RawSQL("SELECT unnest(%s::text[])", [list(values)])


def _converters(fields: Sequence[models.Field[Any, Any]], connection: Any) -> list[tuple[int, Callable[[Any], Any]]]:
    return [
        (position, convert)
        for position, field in enumerate(fields)
        if (convert := _converter(field, connection)) is not None
    ]


def _converter(field: models.Field[Any, Any], connection: Any) -> Callable[[Any], Any] | None:
    if isinstance(field, models.JSONField):
        empty: dict[bool, Any] = {}

        def convert(value: Any) -> Any:
            # Most rows hold an empty list or object; preparing it once saves a call a row.
            if value == [] or value == {}:
                key = isinstance(value, dict)
                if key not in empty:
                    empty[key] = field.get_db_prep_save(value, connection)
                return empty[key]
            return field.get_db_prep_save(value, connection)

        return convert
    if isinstance(field, models.DateTimeField):
        last: Any = None
        prepared: Any = None

        def convert_time(value: Any) -> Any:
            # Messages without a time of their own share that of their conversation, row after row.
            nonlocal last, prepared
            if value != last:
                last, prepared = value, field.get_db_prep_save(value, connection)
            return prepared

        return convert_time
    if isinstance(field, models.BinaryField):
        return lambda value: field.get_db_prep_save(value, connection)
    return None


def _converted(row: Sequence[Any], converters: list[tuple[int, Callable[[Any], Any]]]) -> Sequence[Any]:
    values = list(row)
    for position, convert in converters:
        values[position] = convert(values[position])
    return values
