"""Training pairs of both channels: to be read, corrected, approved, rejected."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import flatten_fieldsets
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.http import require_safe
from simple_history.admin import SimpleHistoryAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.decorators import display

from memory import curation
from memory.admin.base import beginnings_of, link_to, moment, pretty_json, unbroken
from memory.admin.bulk import OFFERED, BulkDesk
from memory.admin.exchange import ExchangeDesk
from memory.admin.filters import (
    AgeFilter,
    ArchiveFilter,
    ClusterFilter,
    DayRangeFilter,
    MergedFilter,
    NumberRangeFilter,
    RunFilter,
)
from memory.admin.lists import SEARCHED_ROWS, stored_query
from memory.admin.saved_filters import FilterDesk
from memory.admin.seen import SeenDesk, SeenForm
from memory.exchange.formats import JsonLinesFormat, MemoryCsvFormat, PreferenceCsvFormat
from memory.exchange.resources import MemoryPairResource, PreferencePairResource
from memory.models import Conversation, Message, PreferencePair, SftPair, TrainingPair

REVIEW_COLOURS = {"pending": "info", "approved": "success", "rejected": "danger"}
USE_FIELDS = ["is_used", "used_timestamp", "training_epoch"]


class PairForm(SeenForm):
    """A pair as a person corrects it; training that uses it meanwhile is no change that matters."""

    def mark(self, row: TrainingPair) -> str:
        """Return the mark of the pair that the review has too."""
        return curation.state_of(row)


class TrainingPairAdmin(SimpleHistoryAdmin, FilterDesk, BulkDesk, ExchangeDesk, SeenDesk):
    """What the pages of both channels share.

    A pair is rejected or merged, never deleted: its history, the ledger of its uses and the pairs merged into it
    point at it, and a decision can be taken back.
    """

    form = PairForm
    actions = ["approve", "reject", "reopen", "reemit", "unarchive"]
    list_deferred = ["metadata"]
    search_help_text = f"Words of the texts, in the newest {SEARCHED_ROWS:,} of the filter"
    list_before_template = "admin/memory/list_tools.html"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes a pair; see above."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Offer saved filters, decisions on all rows of the filter, and files."""
        tools = {
            "saved_filters": self.saved_filters(request) if self.has_view_permission(request) else [],
            "bulk_actions": [(action.value, words[0]) for action, words in OFFERED.items()],
            "list_query": stored_query(request.GET.urlencode()),
            "may_decide": self.has_change_permission(request),
            "may_import": self.has_import_permission(request),
            "may_export": self.has_export_permission(request),
        }
        return super().changelist_view(request, {**tools, **(extra_context or {})})

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        """Offer no way back by a record of the history: undo refuses where a pair changed since, a record would not."""
        return True

    @method_decorator(require_safe)
    def history_form_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show a record of the history; the library would save a form here, whoever may look."""
        return super().history_form_view(*args, **kwargs)

    def render_history_view(self, request: HttpRequest, template: str, context: dict[str, Any], **kwargs: Any) -> Any:
        """Show all that a record of the history holds as text."""
        if template == self.object_history_form_template:
            # Without the mark, which no record of the history has.
            fieldsets = super(SeenDesk, self).get_fieldsets(request, context["original"])
            form = context["adminform"].form
            context["adminform"] = helpers.AdminForm(
                form, fieldsets, {}, flatten_fieldsets(fieldsets), model_admin=self
            )
        return super().render_history_view(request, template, context, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Save what the person wrote, with the state before it on record, and leave alone what the machine wrote."""
        if not change:
            super().save_model(request, obj, form, change)
            return
        edited = curation.save(pair=obj, user=request.user)
        if edited.preference is not None:
            page = reverse("admin:memory_preferencepair_change", args=[edited.preference])
            text = 'It is preferred over the original by <a href="{}" class="underline">preference pair {}</a>.'
            self.message_user(request, format_html(text, page, edited.preference), messages.INFO)

    @display(description="review", ordering="review_status", label=REVIEW_COLOURS)
    def shown_review(self, row: TrainingPair) -> str:
        """Return the review status, coloured."""
        return row.review_status

    @display(description="archive", ordering="archived_at", label={"archived": "warning"})
    def shown_archive(self, row: TrainingPair) -> str | None:
        """Return a badge for a pair that was retired."""
        return "archived" if row.archived_at is not None else None

    @display(description="used", ordering="is_used")
    def shown_use(self, row: TrainingPair) -> str:
        """Return the epoch in which training consumed the pair last."""
        return unbroken(f"epoch {row.training_epoch}") if row.is_used else "-"

    @display(description="source", ordering="source")
    def shown_source(self, row: Any) -> str:
        """Return the source in one word."""
        return str(row.source)

    @display(description="conversation")
    def shown_conversation(self, row: Any) -> str:
        """Return a link to the conversation."""
        return link_to(Conversation, row.conversation_id)

    @display(description="merged into")
    def shown_merge(self, row: Any) -> str:
        """Return a link to the pair that stands for this one."""
        return link_to(self.model, row.merged_into_id)

    shown_metadata = pretty_json("metadata")


@admin.register(SftPair)
class SftPairAdmin(TrainingPairAdmin):
    """Memory channel."""

    resource_classes = [MemoryPairResource]
    formats = [MemoryCsvFormat, JsonLinesFormat]
    list_display = [
        "id",
        beginnings_of("instruction", "response"),
        "shown_review",
        "shown_archive",
        "shown_use",
        "shown_source",
        "confidence",
        "shown_reward",
        moment("created_at"),
    ]
    list_display_links = ["id", list_display[1]]
    list_filter = [
        ("review_status", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ("is_used", BooleanRadioFilter),
        ArchiveFilter,
        MergedFilter,
        AgeFilter,
        ("created_at", DayRangeFilter),
        ("reward_intensity", NumberRangeFilter),
        ("confidence", NumberRangeFilter),
        ClusterFilter,
        RunFilter,
    ]
    list_texts = ["instruction", "response"]
    list_deferred = [*TrainingPairAdmin.list_deferred, "context"]
    search_fields = ["instruction", "response"]
    fieldsets = [
        (None, {"fields": ["instruction", "response", "context"]}),
        (
            "Judged",
            {"fields": ["review_status", "category", "confidence", "reward_intensity", "sampling_weight", "loss"]},
        ),
        ("Used", {"fields": USE_FIELDS}),
        (
            "Where from",
            {
                "fields": [
                    "source",
                    "created_at",
                    "shown_conversation",
                    "shown_user_message",
                    "shown_assistant_message",
                    "shown_merge",
                    "archived_at",
                    "content_hash",
                    "shown_metadata",
                ]
            },
        ),
    ]
    add_fieldsets = [
        *fieldsets[:1],
        ("Judged", {"fields": ["category", "confidence", "reward_intensity", "sampling_weight"]}),
    ]
    readonly_fields = ["loss", *USE_FIELDS, *fieldsets[3][1]["fields"]]

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Save; a pair that a person adds says so."""
        if not change:
            obj.source = SftPair.Source.MANUAL
        super().save_model(request, obj, form, change)

    @display(description="reward", ordering="reward_intensity")
    def shown_reward(self, row: SftPair) -> float:
        """Return the reward intensity under a heading that fits."""
        return row.reward_intensity

    @display(description="instruction from")
    def shown_user_message(self, row: SftPair) -> str:
        """Return a link to the person's message."""
        return link_to(Message, row.user_message_id)

    @display(description="response from")
    def shown_assistant_message(self, row: SftPair) -> str:
        """Return a link to the assistant's message."""
        return link_to(Message, row.assistant_message_id)


@admin.register(PreferencePair)
class PreferencePairAdmin(TrainingPairAdmin):
    """Reward channel."""

    resource_classes = [PreferencePairResource]
    formats = [PreferenceCsvFormat, JsonLinesFormat]
    list_display = [
        "id",
        beginnings_of("chosen", "rejected"),
        "shown_review",
        "shown_archive",
        "shown_use",
        "shown_source",
        "confidence",
        "margin",
        moment("created_at"),
    ]
    list_display_links = ["id", list_display[1]]
    list_filter = [
        ("review_status", ChoicesDropdownFilter),
        ("source", ChoicesDropdownFilter),
        ("is_used", BooleanRadioFilter),
        ArchiveFilter,
        MergedFilter,
        AgeFilter,
        ("created_at", DayRangeFilter),
        ("margin", NumberRangeFilter),
        ("confidence", NumberRangeFilter),
        ClusterFilter,
        RunFilter,
    ]
    list_texts = ["chosen", "rejected"]
    list_deferred = [*TrainingPairAdmin.list_deferred, "prompt"]
    search_fields = ["chosen", "rejected"]
    fieldsets = [
        (None, {"fields": ["prompt", "chosen", "rejected"]}),
        ("Judged", {"fields": ["review_status", "confidence", "sampling_weight", "margin"]}),
        ("Used", {"fields": USE_FIELDS}),
        (
            "Where from",
            {
                "fields": [
                    "source",
                    "created_at",
                    "shown_conversation",
                    "shown_chosen_message",
                    "shown_rejected_message",
                    "shown_merge",
                    "archived_at",
                    "content_hash",
                    "shown_metadata",
                ]
            },
        ),
    ]
    readonly_fields = ["margin", *USE_FIELDS, *fieldsets[3][1]["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Preferences come from ratings, drafts, edits and imports; each pair says which."""
        return False

    @display(description="chosen from")
    def shown_chosen_message(self, row: PreferencePair) -> str:
        """Return a link to the preferred message."""
        return link_to(Message, row.chosen_message_id)

    @display(description="rejected from")
    def shown_rejected_message(self, row: PreferencePair) -> str:
        """Return a link to the other message."""
        return link_to(Message, row.rejected_message_id)
