"""Files of pairs that left the database."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from maintenance.models import ArchiveFile, MaintenanceRun
from memory.admin.base import MachineWrittenAdmin, link_to, moment


@admin.register(ArchiveFile)
class ArchiveFileAdmin(MachineWrittenAdmin):
    """Where exported pairs are; `manage.py restore_archive` brings them back."""

    list_display = [
        "id",
        "path",
        "shown_run",
        "sft_pairs",
        "preference_pairs",
        moment("created_at"),
        moment("restored_at"),
    ]
    search_fields = ["path", "=sha256"]
    search_help_text = "Part of a path, or a checksum"
    fields = ["path", "sha256", "shown_run", "sft_pairs", "preference_pairs", "created_at", "restored_at"]

    @display(description="night", ordering="run")
    def shown_run(self, row: ArchiveFile) -> str:
        """Return a link to the night."""
        return link_to(MaintenanceRun, row.run_id)
