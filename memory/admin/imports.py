"""The record of imports."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, ChoicesDropdownFilter
from unfold.decorators import display

from memory.admin.base import MachineWrittenAdmin, lines, moment, pretty_json
from memory.admin.filters import DayRangeFilter
from memory.models import ImportBatch


@admin.register(ImportBatch)
class ImportBatchAdmin(MachineWrittenAdmin):
    """What each file brought, and what had to be left out."""

    list_display = [
        "shown_path",
        "format",
        "shown_status",
        "conversations",
        "messages",
        "preference_pairs",
        moment("imported_at"),
    ]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("format", AllValuesCheckboxFilter),
        ("imported_at", DayRangeFilter),
    ]
    list_deferred = ["skipped", "error"]
    search_fields = ["path", "error"]
    search_help_text = "Path of the file, or words of its error"
    fieldsets = [
        (None, {"fields": ["path", "format", "status", "imported_at", "error"]}),
        ("Brought", {"fields": ["conversations", "messages", "preference_pairs", "already_present"]}),
        ("Left out", {"fields": ["shown_skipped"]}),
    ]

    @display(description="path", ordering="path")
    def shown_path(self, row: ImportBatch) -> str:
        """Return the path, cut where it is long."""
        return lines(row.path)

    @display(description="status", ordering="status", label={"complete": "success", "cut off": "warning"})
    def shown_status(self, row: ImportBatch) -> str:
        """Return the status in two words, coloured."""
        return row.status.replace("_", " ")

    shown_skipped = pretty_json("skipped", "where and why")
