"""The replay buffer."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.decorators import display

from memory.admin.base import beginnings_of, link_to, moment, preformatted
from memory.admin.filters import BufferFilter, DayRangeFilter, NumberRangeFilter
from memory.admin.seen import SeenDesk
from memory.models import Message, ReplayEntry


@admin.register(ReplayEntry)
class ReplayEntryAdmin(SeenDesk):
    """An entry is written by the extraction and evicted by the night; a person may flag it as needing care."""

    list_display = [
        "id",
        beginnings_of("prompt", "response"),
        "shown_kind",
        "internal_generated",
        "reward_intensity",
        moment("created_at"),
        moment("evicted_at"),
    ]
    list_display_links = ["id", list_display[1]]
    list_filter = [
        BufferFilter,
        ("kind", ChoicesDropdownFilter),
        ("internal_generated", BooleanRadioFilter),
        ("reward_intensity", NumberRangeFilter),
        ("created_at", DayRangeFilter),
    ]
    list_texts = ["prompt", "response"]
    list_deferred = ["safety_flags"]
    search_fields = ["prompt", "response"]
    search_help_text = "Words of the prompt or of the response"
    fieldsets = [
        (None, {"fields": ["shown_prompt", "shown_response", "safety_flags"]}),
        (
            "Where from",
            {
                "fields": [
                    "shown_message",
                    "kind",
                    "internal_generated",
                    "reward_intensity",
                    "created_at",
                    "evicted_at",
                    "prompt_hash",
                ]
            },
        ),
    ]
    readonly_fields = ["shown_prompt", "shown_response", *fieldsets[1][1]["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Entries come out of the extraction."""
        return False

    @display(description="kind", ordering="kind", label={"experience": "info", "introspection": "warning"})
    def shown_kind(self, row: ReplayEntry) -> str:
        """Return the kind, coloured."""
        return row.kind

    @display(description="prompt")
    def shown_prompt(self, row: ReplayEntry) -> str:
        """Return the whole prompt."""
        return preformatted(row.prompt)

    @display(description="response")
    def shown_response(self, row: ReplayEntry) -> str:
        """Return the whole response."""
        return preformatted(row.response)

    @display(description="message")
    def shown_message(self, row: ReplayEntry) -> str:
        """Return a link to the message."""
        return link_to(Message, row.message_id)
