"""Embeddings of pairs: which there are and how they cluster, never the vectors."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from memory.admin.base import MachineWrittenAdmin, link_to
from memory.admin.filters import IndexedValuesFilter, NumberRangeFilter
from memory.models import PairEmbedding, PreferencePair, SftPair


@admin.register(PairEmbedding)
class PairEmbeddingAdmin(MachineWrittenAdmin):
    """An embedding follows from the text of its pair."""

    list_display = ["id", "shown_pair", "embedder", "dimension", "cluster"]
    list_filter = [("embedder", IndexedValuesFilter), ("cluster", NumberRangeFilter)]
    search_fields = ["=sft_pair__id", "=preference_pair__id"]
    search_help_text = "Number of a pair"
    fields = ["shown_pair", "embedder", "dimension", "cluster"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PairEmbedding]:
        """Return the rows without their vectors, which no page shows."""
        rows: QuerySet[PairEmbedding] = super().get_queryset(request)
        return rows.defer("vector")

    @display(description="pair")
    def shown_pair(self, row: PairEmbedding) -> Any:
        """Return a link to the pair."""
        if row.sft_pair_id is not None:
            return link_to(SftPair, row.sft_pair_id)
        return link_to(PreferencePair, row.preference_pair_id)
