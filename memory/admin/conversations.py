"""Conversations, with their messages as a person reads them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesDropdownFilter,
)
from unfold.decorators import display

from memory.admin.base import (
    MachineWrittenAdmin,
    beginnings_of,
    lines,
    link_to,
    moment,
    preformatted,
    pretty_json,
    unbroken,
)
from memory.admin.filters import DayRangeFilter, IndexedValuesFilter
from memory.admin.lists import SlimChangeList
from memory.admin.reading import reading_order
from memory.admin.seen import SeenDesk
from memory.models import Conversation, Message, PreferencePair, ReplayEntry, SftPair

# Messages on a conversation's page; the rest is one link away.
SHOWN_MESSAGES = 500
# What is counted before a conversation is deleted, and how it is linked.
_BELONGING: dict[type[Model], str] = {
    Message: "conversation",
    ReplayEntry: "message__conversation",
    SftPair: "conversation",
    PreferencePair: "conversation",
}


class ConversationChangeList(SlimChangeList):
    """A list that counts the messages of the rows on the page alone."""

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the page, each with its number of messages."""
        counted = (
            Message.objects.filter(conversation=OuterRef("pk"))
            .order_by()
            .values("conversation")
            .annotate(n=Count("pk"))
        )
        message_count = Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0)
        counting: QuerySet[Any] = super().page_rows(rows).annotate(message_count=message_count)
        return counting


@admin.register(Conversation)
class ConversationAdmin(SeenDesk):
    """A conversation came from outside: a person may name it, give consent to training or withdraw it."""

    list_display = ["shown_title", "participant", "source_system", "messages", "training_allowed", moment("updated_at")]
    list_filter = [
        ("training_allowed", BooleanRadioFilter),
        ("source_system", IndexedValuesFilter),
        ("updated_at", DayRangeFilter),
    ]
    list_deferred = ["metadata"]
    search_fields = ["title", "participant", "external_id"]
    search_help_text = "Title, person, or id in the source system"
    fieldsets = [
        (None, {"fields": ["title", "participant", "training_allowed"]}),
        (
            "Where from",
            {"fields": ["source_system", "external_id", "started_at", "updated_at", "import_batch", "shown_metadata"]},
        ),
    ]
    readonly_fields = ["source_system", "external_id", "started_at", "updated_at", "import_batch", "shown_metadata"]
    change_form_outer_after_template = "admin/memory/conversation/messages.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SlimChangeList]:
        """Return the list that counts messages."""
        return ConversationChangeList

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Conversations are imported, not typed."""
        return False

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], Any]:
        """Count what goes and what stays; the tree of messages, none of which is deleted by itself, may be too deep."""
        rows = list(objs)
        messages, entries, memory, preferences = (
            dict(
                model._default_manager.filter(**{f"{path}__in": rows})
                .order_by()
                .values_list(path)
                .annotate(Count("pk"))
            )
            for model, path in _BELONGING.items()
        )
        shown: list[Any] = []
        for row in rows:
            goes = f"messages: {messages.get(row.pk, 0)}"
            stays = f"memory pairs that stay: {memory.get(row.pk, 0)}; preference pairs: {preferences.get(row.pk, 0)}"
            if not row.training_allowed:
                goes += f"; replay entries: {entries.get(row.pk, 0)}"
                stays += "; all of them rejected, as there is no consent to train them"
            shown += [format_html("{}, {}", link_to(Conversation, row.pk), row), [goes, stays]]
        counts = {self.opts.verbose_name_plural: len(rows), Message._meta.verbose_name_plural: sum(messages.values())}
        allowed = self.has_delete_permission(request)
        return shown, counts, set() if allowed else {str(self.opts.verbose_name)}, []

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Conversation | None = None, **kwargs: Any
    ) -> HttpResponse:
        """Show the messages below the form."""
        # Parents were stored before their children, so that the first rows of a long conversation are a whole tree.
        found = list(Message.objects.filter(conversation=obj).order_by("pk")[: SHOWN_MESSAGES + 1])
        context["turns"] = reading_order(found[:SHOWN_MESSAGES])
        context["has_more"] = len(found) > SHOWN_MESSAGES
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    @display(description="title", ordering="title")
    def shown_title(self, row: Conversation) -> str:
        """Return the title, or the id where there is none."""
        return lines(str(row))

    @display(description="messages")
    def messages(self, row: Any) -> int:
        """Return the number of messages."""
        return int(row.message_count)

    shown_metadata = pretty_json("metadata")


@admin.register(Message)
class MessageAdmin(MachineWrittenAdmin):
    """Messages are what was said; corrections belong to the pairs made of them."""

    list_display = [
        "id",
        beginnings_of("content"),
        "shown_role",
        "kind",
        "shown_rating",
        "shown_reward",
        moment("created_at"),
        "shown_conversation",
    ]
    list_display_links = ["id", list_display[1]]
    list_filter = [
        ("role", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("rating", ChoicesDropdownFilter),
        ("is_active_branch", BooleanRadioFilter),
        ("internal_generated", BooleanRadioFilter),
        ("conversation", AutocompleteSelectFilter),
        ("created_at", DayRangeFilter),
    ]
    ordering = ["-id"]
    list_texts = ["content"]
    list_deferred = ["original_content"]
    search_fields = ["content", "=external_id"]
    search_help_text = "Words of the message, or its exact id in the source system"
    fieldsets = [
        (None, {"fields": ["shown_content", "shown_original"]}),
        ("Judged", {"fields": ["rating", "reward_intensity", "reward_observed", "loss"]}),
        (
            "Place",
            {
                "fields": [
                    "shown_conversation",
                    "shown_parent",
                    "branch_position",
                    "is_active_branch",
                    "role",
                    "kind",
                    "internal_generated",
                    "model_name",
                    "external_id",
                    "created_at",
                ]
            },
        ),
    ]

    @display(description="role", ordering="role", label={"user": "info", "assistant": "success", "tool": "warning"})
    def shown_role(self, row: Message) -> str:
        """Return the role, coloured."""
        return row.role

    @display(description="rating", ordering="rating")
    def shown_rating(self, row: Message) -> str:
        """Return the rating in words."""
        return unbroken(row.get_rating_display() or "-")

    @display(description="reward", ordering="reward_intensity")
    def shown_reward(self, row: Message) -> float:
        """Return the reward intensity under a heading that fits."""
        return row.reward_intensity

    @display(description="conversation", ordering="conversation")
    def shown_conversation(self, row: Message) -> str:
        """Return a link to the conversation."""
        return link_to(Conversation, row.conversation_id)

    @display(description="answers")
    def shown_parent(self, row: Message) -> str:
        """Return a link to the message before."""
        return link_to(Message, row.parent_id)

    @display(description="content")
    def shown_content(self, row: Message) -> str:
        """Return the whole text."""
        return preformatted(row.content)

    @display(description="before it was edited")
    def shown_original(self, row: Message) -> str:
        """Return the text that a person replaced."""
        return preformatted(row.original_content)
