"""Counts that go no further than a page needs."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet


def count_up_to(rows: QuerySet[Any], limit: int) -> tuple[int, bool]:
    """Return how many `rows` there are, `limit` at most, and whether there are more; one query."""
    found = rows.order_by().values("pk")[: limit + 1].count()
    return min(found, limit), found > limit
