"""Filters of the desk."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import RadioFilter, RangeDateFilter
from unfold.utils import parse_date_str


class DayRangeFilter(RangeDateFilter):
    """From a day to a day, both included, in the time zone of the settings."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of those days; a date that cannot be read filters nothing."""
        name = self.parameter_name
        if day := parse_date_str(self.used_parameters.get(f"{name}_from")):
            queryset = queryset.filter(**{f"{name}__gte": _midnight(day)})
        if day := parse_date_str(self.used_parameters.get(f"{name}_to")):
            queryset = queryset.filter(**{f"{name}__lt": _midnight(day + timedelta(days=1))})
        return queryset


class ArchiveFilter(RadioFilter):
    """Pairs that were retired, or those that were not."""

    title = "archive"
    parameter_name = "archive"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("out", "not archived"), ("in", "archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the pairs of the choice; without one, all."""
        is_out = {"out": True, "in": False}.get(str(self.value()))
        return queryset if is_out is None else queryset.filter(archived_at__isnull=is_out)


class BufferFilter(RadioFilter):
    """Replay entries that are in the buffer, or those that had to make room."""

    title = "place"
    parameter_name = "place"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return both."""
        return [("buffer", "in the buffer"), ("evicted", "evicted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries of the place; without one, all."""
        in_buffer = {"buffer": True, "evicted": False}.get(str(self.value()))
        return queryset if in_buffer is None else queryset.filter(evicted_at__isnull=in_buffer)


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
