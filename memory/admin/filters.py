"""Filters of the desk; a value that makes no sense shows nothing, and the list says what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.admin import ListFilter
from django.db import connections
from django.db.models import BigIntegerField, Func, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import (
    AllValuesCheckboxFilter,
    RadioFilter,
    RangeDateFilter,
    RangeNumericFilter,
    TextFilter,
)
from unfold.contrib.filters.forms import DropdownForm
from unfold.utils import parse_date_str

from memory.importers.fields import shown
from memory.models import PairEmbedding

# Values that a filter by known values offers.
OFFERED_VALUES = 50
LARGEST_KEY = 2**63 - 1


class CheckedFilter(ListFilter):
    """A filter that says in `problem` what is wrong with the value in the address."""

    problem = ""

    def refuse(self, queryset: QuerySet[Any], value: object, allowed: str) -> QuerySet[Any]:
        """Return no rows, and keep the reason."""
        self.problem = f"{self.title}: got {shown(value)}, allowed {allowed}"
        return queryset.none()


class DayRangeFilter(CheckedFilter, RangeDateFilter):
    """From a day to a day, both included, in the time zone of the settings."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of those days."""
        name = self.parameter_name
        for end, lookup, days in (("from", "gte", 0), ("to", "lt", 1)):
            text = self.used_parameters.get(f"{name}_{end}")
            if not text:
                continue
            try:
                # The first days and the last have no equal in UTC.
                moment = midnight(parse_date_str(text) + timedelta(days=days)).astimezone(UTC)
            except (TypeError, OverflowError):
                return self.refuse(queryset, text, "a day such as 2026-05-31")
            queryset = queryset.filter(**{f"{name}__{lookup}": moment})
        return queryset


class NumberRangeFilter(CheckedFilter, RangeNumericFilter):
    """From a number to a number, both included."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the range."""
        name = self.parameter_name
        for end, lookup in (("from", "gte"), ("to", "lte")):
            text = self.used_parameters.get(f"{name}_{end}")
            if text in (None, ""):
                continue
            try:
                number = float(str(text))
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                return self.refuse(queryset, text, "a number")
            queryset = queryset.filter(**{f"{name}__{lookup}": number})
        return queryset


class ChoiceFilter(CheckedFilter, RadioFilter):
    """One of a few choices; without one, all rows."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return value and words of each choice."""
        raise NotImplementedError

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the rows of a choice."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the choice in the address."""
        value = self.value()
        if not value:
            return queryset
        allowed = [str(known) for known, _ in self.lookup_choices]
        if value not in allowed:
            return self.refuse(queryset, value, ", ".join(allowed))
        return self.chosen(queryset, value)


class ArchiveFilter(ChoiceFilter):
    """Pairs that were retired, or those that were not."""

    title = "archive"
    parameter_name = "archive"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("out", "not archived"), ("in", "archived")]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the pairs in the archive, or out of it."""
        return queryset.filter(archived_at__isnull=value == "out")


class MergedFilter(ChoiceFilter):
    """Pairs that another one stands for, or those that stand for themselves."""

    title = "merging"
    parameter_name = "merged"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("no", "not merged"), ("yes", "merged into another")]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the pairs that were merged away, or the others."""
        return queryset.filter(merged_into__isnull=value == "no")


class BufferFilter(ChoiceFilter):
    """Replay entries that are in the buffer, or those that had to make room."""

    title = "place"
    parameter_name = "place"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("buffer", "in the buffer"), ("evicted", "evicted")]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the entries of the place."""
        return queryset.filter(evicted_at__isnull=value == "buffer")


class AgeFilter(ChoiceFilter):
    """How long ago something was said."""

    form_class = DropdownForm
    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the ages, in days."""
        return [
            ("-1", "up to a day"),
            ("-7", "up to 7 days"),
            ("-30", "up to 30 days"),
            ("-365", "up to a year"),
            ("365", "older than a year"),
        ]

    def chosen(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the rows of the age."""
        days = int(value)
        moment = timezone.now() - timedelta(days=abs(days))
        return queryset.filter(created_at__lt=moment) if days > 0 else queryset.filter(created_at__gte=moment)


class NumberFilter(CheckedFilter, TextFilter):
    """Rows that belong to something with a number."""

    def belonging(self, queryset: QuerySet[Any], number: int) -> QuerySet[Any]:
        """Return the rows that belong to `number`."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that belong to the number in the address."""
        value = self.value()
        if not value:
            return queryset
        number = key_of(value)
        if number is None:
            return self.refuse(queryset, value, "a whole number from 0")
        return self.belonging(queryset, number)


class _Scanned(Func):
    """A column whose index SQLite shall not look its values up in.

    A run may have consumed hundreds of thousands of pairs. Going through the pairs in the order of the list, and asking
    of each whether the run has it, ends with the last row of the page; looking all of them up first does not.
    """

    template = "%(expressions)s"
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the column behind a plus, which is SQLite's way to say so."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


class RunFilter(NumberFilter):
    """Pairs that a training run consumed, however often."""

    title = "run (number)"
    parameter_name = "run"

    def belonging(self, queryset: QuerySet[Any], number: int) -> QuerySet[Any]:
        """Return the pairs that the ledger has under the run."""
        link = queryset.model._meta.get_field("uses")
        name = link.field.name
        uses = link.related_model._default_manager.filter(run=number, **{f"{name}__isnull": False}).order_by()
        consumed: QuerySet[Any] = queryset.alias(scanned=_Scanned("pk")).filter(scanned__in=uses.values(name))
        return consumed


class ClusterFilter(NumberFilter):
    """Pairs of one topic, which the filter names while it is on."""

    title = "topic (number)"
    parameter_name = "cluster"
    # Nights name the topics, of which the memory knows nothing: who knows their names puts a function here.
    name_of: Callable[[int], str] = staticmethod(lambda number: "")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Look the name up."""
        super().__init__(*args, **kwargs)
        number = key_of(self.value() or "")
        if number is not None and (name := self.name_of(number)):
            self.title = f"topic {number} · {name}"

    def belonging(self, queryset: QuerySet[Any], number: int) -> QuerySet[Any]:
        """Return the pairs whose vector lies in the cluster."""
        link = queryset.model._meta.get_field("embedding").field.name
        inside = PairEmbedding.objects.filter(cluster=number, **{f"{link}__isnull": False})
        return queryset.filter(pk__in=inside.values(link))


class IndexedValuesFilter(AllValuesCheckboxFilter):
    """The values that an indexed column holds, found by hopping from one to the next instead of reading all rows."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        """Look the values up; the query for all distinct ones is never run."""
        super().__init__(field, *args, **kwargs)
        self.lookup_choices = known_values(field)


def known_values(field: Any, limit: int = OFFERED_VALUES) -> list[Any]:
    """Return the first `limit` values of a column that leads an index, in order, by one query."""
    model = field.model
    connection = connections[model._default_manager.db]
    table, column = (connection.ops.quote_name(name) for name in (model._meta.db_table, field.column))
    # The names come from the model's own metadata.
    statement = (
        f"WITH RECURSIVE known(v) AS (SELECT MIN({column}) FROM {table}"  # noqa: S608
        f" UNION ALL SELECT (SELECT MIN({column}) FROM {table} WHERE {column} > known.v)"
        " FROM known WHERE known.v IS NOT NULL)"
        " SELECT v FROM known WHERE v IS NOT NULL LIMIT %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [limit])
        return [value for (value,) in cursor.fetchall()]


def key_of(text: str) -> int | None:
    """Return the number of a row that `text` is in ASCII digits; None where no key can be that."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LARGEST_KEY)):
        return None
    number = int(text)
    return number if number <= LARGEST_KEY else None


def midnight(day: date) -> datetime:
    """Return when the day begins in the time zone of the settings."""
    return timezone.make_aware(datetime.combine(day, time.min))
