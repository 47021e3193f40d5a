"""Pages of a list without counting the table."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

# Rows that a list counts and turns pages over; what lies behind them is reached by a filter or another order.
COUNTED_ROWS = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # generic in the stubs alone
    """Reads the keys of at most `COUNTED_ROWS` rows and one more, then the rows of one page by their keys.

    The keys alone come out of an index, whatever the size of a row, and one look at them gives both the count and the
    page. A full count, or an offset into millions of rows, would read all that lies before.
    """

    template_name = "admin/memory/pagination.html"

    object_list: QuerySet[Any]

    @cached_property
    def _keys(self) -> list[Any]:
        return list(self.object_list.values_list("pk", flat=True)[: COUNTED_ROWS + 1])

    @cached_property
    def count(self) -> int:
        """Return the number of rows that can be turned over."""
        return min(len(self._keys), COUNTED_ROWS)

    @property
    def has_uncounted(self) -> bool:
        """Whether there are more rows than are counted."""
        return len(self._keys) > COUNTED_ROWS

    def page(self, number: int | str) -> Page[Any]:
        """Return the rows of one page."""
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        keys = self._keys[start : min(start + self.per_page, self.count)]
        return Page(self.object_list.filter(pk__in=keys), number, self)
