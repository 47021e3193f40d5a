"""Training runs, with the ledger of what each of them consumed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, RangeNumericFilter
from unfold.decorators import display

from memory.admin.base import MachineWrittenAdmin, code, lines, link_to, moment, preformatted, pretty_json
from memory.admin.filters import DayRangeFilter
from memory.models import PreferencePair, SftPair
from training.models import PairUse, TrainingRun

WHY_IT_ENDED = "Why it ended"


@admin.register(TrainingRun)
class TrainingRunAdmin(MachineWrittenAdmin):
    """What each call of the trainer did, or why it failed."""

    list_display = [
        "id",
        "shown_status",
        "shown_config_path",
        "steps",
        moment("started_at"),
        "duration",
        "shown_adapter",
    ]
    list_filter = [("status", ChoicesDropdownFilter), ("started_at", DayRangeFilter)]
    list_deferred = ["config", "evaluation", "error", "traceback"]
    search_fields = ["config_path", "adapter", "error"]
    search_help_text = "Config, adapter folder, or words of an error"
    # The template of the page shows curves, figures and answers before the last of these.
    fieldsets = [
        (None, {"fields": ["status", "started_at", "finished_at", "duration", "steps", "adapter", "shown_pairs"]}),
        (WHY_IT_ENDED, {"fields": ["exception_class", "shown_error", "shown_traceback"]}),
        ("Config", {"fields": ["config_path", "shown_config"], "classes": ["collapse"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRun]:
        """Return the runs without their metrics, which hold every step."""
        rows: QuerySet[TrainingRun] = super().get_queryset(request)
        return rows.defer("metrics")

    def get_fieldsets(self, request: HttpRequest, obj: TrainingRun | None = None) -> list[Any]:
        """Return the fieldsets; why it ended only for a run that ended badly."""
        ended_badly = obj is not None and (obj.error or obj.exception_class)
        return [each for each in self.fieldsets if ended_badly or each[0] != WHY_IT_ENDED]

    @display(
        description="status",
        ordering="status",
        label={"running": "info", "succeeded": "success", "failed": "danger", "interrupted": "warning"},
    )
    def shown_status(self, row: TrainingRun) -> str:
        """Return the status, coloured."""
        return row.status

    @display(description="duration")
    def duration(self, row: TrainingRun) -> timedelta | None:
        """Return how long the run took, to the second; None while it runs."""
        if row.finished_at is None:
            return None
        return timedelta(seconds=round((row.finished_at - row.started_at).total_seconds()))

    @display(description="config", ordering="config_path")
    def shown_config_path(self, row: TrainingRun) -> str:
        """Return the path of the config, cut where it is long."""
        return lines(row.config_path)

    @display(description="adapter", ordering="adapter")
    def shown_adapter(self, row: TrainingRun) -> str:
        """Return the folder of the adapter, cut where it is long."""
        return lines(row.adapter) if row.adapter else "-"

    @display(description="pairs used")
    def shown_pairs(self, row: TrainingRun) -> SafeString:
        """Return a link to the run's part of the ledger."""
        ledger = f"{reverse('admin:training_pairuse_changelist')}?run__id__exact={row.pk}"
        return format_html('<a href="{}" class="text-link">its part of the ledger</a>', ledger)

    @display(description="error")
    def shown_error(self, row: TrainingRun) -> str:
        """Return the message of the error."""
        return preformatted(row.error)

    @display(description="traceback")
    def shown_traceback(self, row: TrainingRun) -> SafeString | str:
        """Return the traceback with its lines kept, folded."""
        if not row.traceback:
            return "-"
        return format_html("<details><summary>Show it</summary>{}</details>", code(row.traceback))

    shown_config = pretty_json("config", "resolved config")


@admin.register(PairUse)
class PairUseAdmin(MachineWrittenAdmin):
    """The ledger: which run consumed which pair, at which step."""

    list_display = ["id", "shown_run", "shown_pair", "step", "epoch", "weight", moment("used_at")]
    list_filter = [("run", AutocompleteSelectFilter), ("step", RangeNumericFilter), ("used_at", DayRangeFilter)]
    search_fields = ["=sft_pair__id", "=preference_pair__id", "=content_hash"]
    search_help_text = "Number of a pair, or the hash of its text"
    fields = [
        *("shown_run", "shown_pair", "step", "epoch", "weight", "content_hash", "used_at"),
        *("was_used", "former_used_timestamp", "former_training_epoch"),
    ]

    @display(description="run", ordering="run")
    def shown_run(self, row: PairUse) -> str:
        """Return a link to the run."""
        return link_to(TrainingRun, row.run_id)

    @display(description="pair")
    def shown_pair(self, row: PairUse) -> str:
        """Return a link to the pair."""
        if row.sft_pair_id is not None:
            return link_to(SftPair, row.sft_pair_id)
        return link_to(PreferencePair, row.preference_pair_id)
