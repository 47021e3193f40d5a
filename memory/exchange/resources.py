"""The columns of a file of pairs, and how django-import-export brings such a file in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from import_export import fields, resources, widgets
from import_export.results import Result, RowResult

from memory.exchange.files import CsvFile
from memory.exchange.pairs import pair_of_cells, pair_of_record
from memory.exchange.storing import Outcome, store
from memory.models import PreferencePair, SftPair

# Pairs that are read at a time; a million never lie in memory together.
EXPORT_ROWS = 1_000


class PairsResult(Result):
    """The result of an import, with what it does to the pairs."""

    outcome: Outcome


class PairResource(resources.ModelResource):
    """Pairs go out page by page, and come in through the rules that every import keeps.

    Existing pairs are never changed by a file.
    """

    created_at = fields.Field(
        attribute="created_at", column_name="created_at", widget=widgets.DateTimeWidget("%Y-%m-%dT%H:%M:%S.%f%z")
    )

    def cells(self, pairs: Any) -> Iterator[list[str]]:
        """Yield the names of the columns, then the cells of each pair."""
        yield self.get_export_headers()
        columns = [field.attribute for field in self.get_export_fields()]
        for pair in pages(pairs.only(*columns)):
            yield self.export_resource(pair)

    def import_data(self, dataset: Any, dry_run: bool = False, **kwargs: Any) -> PairsResult:
        """Store the pairs of a file, each batch in a transaction of its own; a dry run only reads."""
        read = pair_of_cells if isinstance(dataset, CsvFile) else pair_of_record
        outcome = store(self._meta.model, dataset, read=read, dry_run=dry_run)
        result = PairsResult()
        result.outcome = outcome
        result.totals[RowResult.IMPORT_TYPE_NEW] = outcome.created
        result.totals[RowResult.IMPORT_TYPE_SKIP] = outcome.already_present
        result.totals[RowResult.IMPORT_TYPE_INVALID] = outcome.refused
        result.total_rows = outcome.created + outcome.already_present + outcome.refused
        return result


class MemoryPairResource(PairResource):
    """Columns of a memory pair."""

    class Meta:
        model = SftPair
        fields = (
            *("id", "instruction", "response", "context", "category", "confidence", "reward_intensity"),
            *("sampling_weight", "source", "review_status", "is_used", "created_at"),
        )
        export_order = fields


class PreferencePairResource(PairResource):
    """Columns of a preference pair."""

    class Meta:
        model = PreferencePair
        fields = (
            *("id", "prompt", "chosen", "rejected", "margin", "confidence", "sampling_weight"),
            *("source", "review_status", "is_used", "created_at"),
        )
        export_order = fields


def pages(pairs: Any) -> Iterator[Any]:
    """Yield pairs, newest first, page by page after the key of the last one."""
    last = None
    while True:
        rest = pairs if last is None else pairs.filter(pk__lt=last)
        page = list(rest.order_by("-pk")[:EXPORT_ROWS])
        yield from page
        if len(page) < EXPORT_ROWS:
            return
        last = page[-1].pk
