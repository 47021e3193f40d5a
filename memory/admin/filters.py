"""Filters of the desk."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import RangeDateFilter
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


def _midnight(day: Any) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
