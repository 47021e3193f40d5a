"""Nights, and the rows that they changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, FieldTextFilter
from unfold.decorators import display

from maintenance.models import MaintenanceRun, MaintenanceStep, RowChange
from memory.admin.base import MachineWrittenAdmin, code, link_to, moment, preformatted, pretty_json
from memory.admin.filters import DayRangeFilter

STATUS_COLOURS = {
    "running": "info",
    "succeeded": "success",
    "skipped": "info",
    "failed": "danger",
    "interrupted": "warning",
}


@admin.register(MaintenanceRun)
class MaintenanceRunAdmin(MachineWrittenAdmin):
    """What each night did, step by step."""

    list_display = ["id", "shown_status", moment("started_at"), "duration", "shown_steps"]
    list_filter = [("status", ChoicesDropdownFilter), ("started_at", DayRangeFilter)]
    list_deferred = ["config", "error"]
    search_fields = ["=id", "error"]
    search_help_text = "Number of a night, or words of an error"
    # The template of the page shows the morning report before the last of these.
    fieldsets = [
        (None, {"fields": ["status", "started_at", "finished_at", "duration", "shown_links", "shown_error"]}),
        ("Steps", {"fields": ["shown_step_table"]}),
        ("Config", {"fields": ["config_path", "shown_config"], "classes": ["collapse"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MaintenanceRun]:
        """Return the nights with their steps."""
        steps = MaintenanceStep.objects.defer("details")
        rows: QuerySet[MaintenanceRun] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("steps", queryset=steps))

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, row: MaintenanceRun) -> str:
        """Return the status, coloured."""
        return row.status

    @display(description="duration")
    def duration(self, row: MaintenanceRun) -> timedelta | None:
        """Return how long the night took, to the second; None while it runs."""
        if row.finished_at is None:
            return None
        return timedelta(seconds=round((row.finished_at - row.started_at).total_seconds()))

    @display(description="steps")
    def shown_steps(self, row: MaintenanceRun) -> str:
        """Return how many steps went well, and which did not."""
        bad = [step.name for step in row.steps.all() if step.ended_badly]
        good = sum(step.status == "succeeded" for step in row.steps.all())
        return f"{good} done" + (f", {', '.join(bad)} failed" if bad else "")

    @display(description="steps")
    def shown_step_table(self, row: MaintenanceRun) -> SafeString:
        """Return the steps with what each did, and why it failed."""
        rows = (
            (step.name, step.status, _number(step.seconds), _number(step.peak_rss_mb), _what(step), _undone(step))
            for step in row.steps.all()
        )
        return format_html(
            '<div class="desk-scroll" role="region" aria-label="Steps" tabindex="0"><table class="desk-table"><thead>'
            "<tr><th>step</th><th>status</th><th>seconds</th><th>MB</th><th>what</th><th></th></tr></thead>"
            "<tbody>{}</tbody></table></div>",
            format_html_join(
                "",
                '<tr><td>{}</td><td>{}</td><td class="desk-number">{}</td><td class="desk-number">{}</td>'
                "<td>{}</td><td>{}</td></tr>",
                rows,
            ),
        )

    @display(description="changes")
    def shown_links(self, row: MaintenanceRun) -> SafeString:
        """Return links to what the night changed and proposed."""
        changes = f"{reverse('admin:maintenance_rowchange_changelist')}?run__id__exact={row.pk}"
        proposals = f"{reverse('admin:maintenance_proposal_changelist')}?run__id__exact={row.pk}"
        return format_html(
            '<a href="{}" class="text-link">the rows it changed</a>, '
            '<a href="{}" class="text-link">its proposals</a>; <code>manage.py undo_maintenance {}</code> puts back',
            changes,
            proposals,
            row.pk,
        )

    @display(description="error")
    def shown_error(self, row: MaintenanceRun) -> str:
        """Return what went wrong outside the steps."""
        return preformatted(row.error)

    shown_config = pretty_json("config", "resolved config")


@admin.register(RowChange)
class RowChangeAdmin(MachineWrittenAdmin):
    """The journal: each row that a night changed or made, with what was there before."""

    list_display = ["id", "shown_run", "step", "shown_row", "shown_change", moment("changed_at"), moment("undone_at")]
    list_filter = [
        ("run", AutocompleteSelectFilter),
        ("step", FieldTextFilter),
        ("table", FieldTextFilter),
        ("changed_at", DayRangeFilter),
    ]
    search_fields = ["=row_id"]
    search_help_text = "Number of a row"
    fields = ["shown_run", "step", "shown_row", "shown_before", "shown_after", "changed_at", "undone_at"]

    @display(description="night", ordering="run")
    def shown_run(self, row: RowChange) -> str:
        """Return a link to the night."""
        return link_to(MaintenanceRun, row.run_id)

    @display(description="row")
    def shown_row(self, row: RowChange) -> str:
        """Return a link to the row."""
        try:
            return link_to(apps.get_model(row.table), row.row_id)
        except (LookupError, NoReverseMatch):
            return f"{row.table} {row.row_id}"

    @display(description="change")
    def shown_change(self, row: RowChange) -> str:
        """Return the columns that changed."""
        return "made" if row.before is None else ", ".join(row.before)

    shown_before = pretty_json("before")
    shown_after = pretty_json("after")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _what(step: MaintenanceStep) -> SafeString | str:
    """Return the counts of a step; of one that failed its reason, with the traceback folded."""
    if step.ended_badly and step.error:
        return format_html(
            "{}<details><summary>Traceback</summary>{}</details>", preformatted(step.error), code(step.traceback)
        )
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in step.counts.items() if value)
    return counts or step.error or "nothing to do"


def _undone(step: Any) -> str:
    return "" if step.undone_at is None else "undone"
