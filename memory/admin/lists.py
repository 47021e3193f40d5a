"""The lists of the desk: slim rows, pages by key, sorting where there is an index."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.core.exceptions import FieldDoesNotExist, SuspiciousOperation
from django.db import models
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.functions import Substr
from django.http import HttpRequest, QueryDict
from unfold.views import ChangeList

from memory.admin.filters import LARGEST_KEY, CheckedFilter
from memory.bulk import key_list

# Characters of a text that a list page loads.
LIST_TEXT_LENGTH = 120
# Rows whose texts a search reads: the newest that pass the filter.
SEARCHED_ROWS = 20_000


class BadFilterError(ValueError):
    """A filter, or a choice of rows, that a list cannot take; says what was got and what is allowed."""


class SlimChangeList(ChangeList):
    """A list that leaves big columns in the database, apart from the beginning of those it shows."""

    page_num: int

    @property
    def problems(self) -> list[str]:
        """What is wrong with the values of the filters, a line each."""
        checked = [spec for spec in self.filter_specs if isinstance(spec, CheckedFilter)]
        return [spec.problem for spec in checked if spec.problem]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows of the filters; what no database takes in a query is refused before it gets there."""
        for name, values in self.filter_params.items():
            for value in values:
                # A search that holds a NUL would be dropped, and leave all rows.
                if "\0" in value or (self._is_column(name) and _is_beyond_keys(value)):
                    raise IncorrectLookupParameters(name)
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows

    def _is_column(self, parameter: str) -> bool:
        names = {name for field in self.opts.concrete_fields for name in (field.name, field.attname)}
        return parameter.split(LOOKUP_SEP)[0] in {*names, "pk"}

    def get_results(self, request: HttpRequest) -> None:
        """Take one page of the rows; a page that does not exist is the last one.

        A filter that makes no sense has no rows, and the page says why.
        """
        for problem in self.problems:
            messages.error(request, problem)
        paginator = self.model_admin.get_paginator(request, self.page_rows(self.queryset), self.list_per_page)
        self.page_num = max(1, min(self.page_num, paginator.num_pages))
        self.result_list = paginator.page(self.page_num).object_list
        self.result_count = paginator.count
        # The same as the count, so that the head of the page does not give a bounded count for the whole.
        self.full_result_count = paginator.count
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = paginator.num_pages > 1
        self.paginator = paginator

    @property
    def shown_rows(self) -> str:
        """Which rows are on the page, of how many."""
        first = (self.page_num - 1) * self.list_per_page + 1
        last = min(first + self.list_per_page - 1, self.result_count)
        if last < first:
            return f"No {self.opts.verbose_name_plural}"
        names = self.opts.verbose_name if self.result_count == 1 else self.opts.verbose_name_plural
        total = f"more than {self.result_count:,}" if self.paginator.has_uncounted else f"{self.result_count:,}"
        return f"{first:,}–{last:,} of {total} {names}"

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return `rows` as a page shows them: without their big columns."""
        desk = self.model_admin
        beginnings = {beginning(name): Substr(name, 1, LIST_TEXT_LENGTH + 1) for name in desk.list_texts}
        slim: QuerySet[Any] = rows.defer(*desk.list_texts, *desk.list_deferred).annotate(**beginnings)
        return slim

    def get_ordering_field(self, field_name: Any) -> Any:
        """Return what a column sorts by; None where the address asks for a column that is not offered."""
        if field_name not in self.sortable_by:
            return None
        return super().get_ordering_field(field_name)

    def _get_deterministic_ordering(self, ordering: Any) -> list[Any]:
        """Let the key go the way of the column before it, so that one index serves both."""
        found = list(super()._get_deterministic_ordering(ordering))
        if found[-1:] == ["-pk"] and isinstance(found[0], str) and not found[0].startswith("-"):
            found[-1] = "pk"
        return found


class FilterOnly(SlimChangeList):
    """The rows of a filter without a page of them."""

    def get_results(self, request: HttpRequest) -> None:
        """Read nothing."""

    @property
    def unknown(self) -> list[str]:
        """The parameters that no filter of the list knows."""
        known = {SEARCH_VAR, ORDER_VAR}
        for spec in self.filter_specs:
            known.update(name for name in spec.expected_parameters() if name)
        return sorted(set(self.filter_params) - known)


def rows_of(desk: Any, request: HttpRequest, query: str) -> QuerySet[Any]:
    """Return the rows that the list of `desk` has under the query string `query`, in its order.

    Raises:
        BadFilterError: if it holds a parameter or a value that the list does not know.

    """
    asked = copy.copy(request)
    asked.GET = _without_page(query)  # type: ignore[assignment] # the stubs have it read-only
    shown = desk.get_list_display(asked)
    try:
        found = FilterOnly(
            asked,
            desk.model,
            shown,
            desk.get_list_display_links(asked, shown),
            desk.get_list_filter(asked),
            desk.date_hierarchy,
            desk.get_search_fields(asked),
            desk.get_list_select_related(asked),
            desk.list_per_page,
            desk.list_max_show_all,
            desk.list_editable,
            desk,
            desk.get_sortable_by(asked),
            desk.search_help_text,
        )
    except (IncorrectLookupParameters, SuspiciousOperation) as error:
        raise BadFilterError(f"filter: got {query!r}, allowed the filters of this list") from error
    if found.unknown:
        raise BadFilterError(f"filter: got {', '.join(found.unknown)}, allowed the filters of this list")
    if found.problems:
        raise BadFilterError("; ".join(found.problems))
    rows: QuerySet[Any] = found.queryset
    return rows


def stored_query(query: str) -> str:
    """Return a query string without the page and what else only the moment asks for."""
    return _without_page(query).urlencode()


def _without_page(query: str) -> QueryDict:
    parameters = QueryDict(query.lstrip("?"), mutable=True)
    for name in list(parameters):
        values = [value for value in parameters.getlist(name) if value != ""]
        if name in {"p", "e", "all"} or name.startswith("_") or not values:
            del parameters[name]
        else:
            parameters.setlist(name, values)
    return parameters


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return those of `rows` that a search reads; reading all would take seconds with a million of them.

    Their keys are fetched first: within one query, PostgreSQL would search all texts before it looks for the newest.
    """
    keys = list(rows.order_by("-pk").values_list("pk", flat=True)[:SEARCHED_ROWS])
    return rows.filter(pk__in=key_list(keys, using=rows.db))


def sortable_columns(desk: Any, columns: Any) -> list[Any]:
    """Return those of `columns` that an index keeps in order."""
    indexed = _indexed_fields(desk.model)
    return [column for column in columns if _order_of(desk, column) in indexed]


def _is_beyond_keys(value: str) -> bool:
    """Return whether one of the numbers in `value`, as a lookup reads them, is larger than any that a column holds."""
    for part in value.split(","):
        try:
            if abs(int(part)) > LARGEST_KEY:
                return True
        except ValueError:
            continue  # No number, or one of thousands of digits, which is refused where the column wants a number.
    return False


def beginning(field: str) -> str:
    """Return the name under which the beginning of a text column is on the rows of a page."""
    return f"{field}_beginning"


def _order_of(desk: admin.ModelAdmin[Any], column: Any) -> str | None:
    if callable(column):
        order = getattr(column, "admin_order_field", None)
    else:
        try:
            order = desk.model._meta.get_field(column).name
        except FieldDoesNotExist:
            order = getattr(getattr(desk, column, None), "admin_order_field", None)
    return order.lstrip("-") if isinstance(order, str) else None


def _indexed_fields(model: type[models.Model]) -> set[str]:
    """Return the fields by which an index has the rows in order, down to the key of rows that are alike.

    An index of a column with few values, as texts have that are indexed to be found by, would leave hundreds of
    thousands to be sorted.
    """
    # Sorting by a relation sorts by the other table.
    plain: dict[str, Any] = {field.name: field for field in model._meta.concrete_fields if not field.is_relation}
    found = {
        name
        for name, field in plain.items()
        if field.unique or (field.db_index and not isinstance(field, models.CharField))
    }
    for index in model._meta.indexes:
        if index.condition is None and tuple(index.fields[1:]) in ((), ("id",)):
            found.add(index.fields[0])
    return found & plain.keys()


def exact(rows: QuerySet[Any], fields: Sequence[str], value: str) -> QuerySet[Any]:
    """Return those of `rows` that have `value` in one of `fields`, each looked up by its own index.

    Django's own search compares without regard to case, for which no index of numbers serves, and asks for either of
    the fields at once, for which SQLite reads the table in the order of the page.
    """
    everything = rows.model._default_manager.order_by()
    found = []
    for field in fields:
        try:
            found.append(everything.filter(**{field: value}).values("pk"))
        except ValueError:
            continue  # No number.
    if not found:
        return rows.none()
    return rows.filter(pk__in=found[0].union(*found[1:]) if found[1:] else found[0])
