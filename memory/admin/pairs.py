"""Training pairs of both channels: to be read, corrected, approved, rejected."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import ngettext
from simple_history.admin import SimpleHistoryAdmin
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, RangeNumericFilter
from unfold.decorators import display

from memory import curation
from memory.admin.base import DeskAdmin, beginnings_of, link_to, moment, pretty_json, unbroken
from memory.admin.filters import ArchiveFilter, DayRangeFilter
from memory.history import keep_originals
from memory.models import Conversation, Message, PreferencePair, SftPair, TrainingPair
from memory.pair_vectors import forget_vectors

REVIEW_COLOURS = {"pending": "info", "approved": "success", "rejected": "danger"}
USE_FIELDS = ["is_used", "used_timestamp", "training_epoch"]


class TrainingPairAdmin(SimpleHistoryAdmin, DeskAdmin):
    """What the pages of both channels share.

    A pair is rejected or merged, never deleted: its history, the ledger of its uses and the pairs merged into it
    point at it, and a decision can be taken back.
    """

    actions = ["approve", "reject", "reopen", "reemit", "unarchive"]
    list_deferred = ["metadata"]
    search_help_text = "Words of the texts"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes a pair; see above."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Save what the person wrote, with the state before it on record, and leave alone what the machine wrote."""
        if change:
            stored = self.model.objects.filter(pk=obj.pk)
            keep_originals(stored)
            text_changed = stored.exclude(content_hash=obj.content_hash).exists()
            # An old version that is restored brings back a person's words, not the use that was recorded since.
            written_by_person = {"id", "content_hash", *form.fields}
            obj.refresh_from_db(
                fields=[field.name for field in obj._meta.concrete_fields if field.name not in written_by_person]
            )
        super().save_model(request, obj, form, change)
        if change and text_changed:
            # After the row, whose lock an embedder waits for: it finds the new text, or its vector goes here.
            forget_vectors(self.model, [obj.pk], using=obj._state.db)

    @admin.action(description="Approve", permissions=["change"])
    def approve(self, request: HttpRequest, pairs: QuerySet[Any]) -> None:
        """Mark the selected pairs as checked and good."""
        count = curation.approve(pairs=pairs, user=request.user)
        self._report(request, ngettext("%d pair approved.", "%d pairs approved.", count) % count)

    @admin.action(description="Reject", permissions=["change"])
    def reject(self, request: HttpRequest, pairs: QuerySet[Any]) -> None:
        """Keep the selected pairs out of training."""
        count = curation.reject(pairs=pairs, user=request.user)
        self._report(request, ngettext("%d pair rejected.", "%d pairs rejected.", count) % count)

    @admin.action(description="Put back to pending", permissions=["change"])
    def reopen(self, request: HttpRequest, pairs: QuerySet[Any]) -> None:
        """Take the decision on the selected pairs back."""
        count = curation.reopen(pairs=pairs, user=request.user)
        self._report(request, ngettext("%d pair put back to pending.", "%d pairs put back to pending.", count) % count)

    @admin.action(description="Re-emit: offer used pairs to training again", permissions=["change"])
    def reemit(self, request: HttpRequest, pairs: QuerySet[Any]) -> None:
        """Offer the selected pairs to training again."""
        count = curation.reemit(pairs=pairs, user=request.user)
        self._report(request, ngettext("%d used pair re-emitted.", "%d used pairs re-emitted.", count) % count)

    @admin.action(description="Take out of the archive", permissions=["change"])
    def unarchive(self, request: HttpRequest, pairs: QuerySet[Any]) -> None:
        """Put the selected archived pairs back where they were."""
        count = curation.unarchive(pairs=pairs, user=request.user)
        text = ngettext("%d pair taken out of the archive.", "%d pairs taken out of the archive.", count)
        self._report(request, text % count)

    def _report(self, request: HttpRequest, text: str) -> None:
        self.message_user(request, text, messages.SUCCESS)

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
        ("confidence", RangeNumericFilter),
        ("reward_intensity", RangeNumericFilter),
        ("created_at", DayRangeFilter),
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
        ("confidence", RangeNumericFilter),
        ("margin", RangeNumericFilter),
        ("created_at", DayRangeFilter),
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
