"""Proposals of the night, to be accepted or dismissed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import ngettext
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from maintenance.decisions import UndecidableError, accept, dismiss
from maintenance.models import MaintenanceRun, Proposal
from memory.admin.base import MachineWrittenAdmin, lines, link_to, preformatted
from memory.admin.filters import DayRangeFilter
from memory.models import PreferencePair, SftPair, TrainingPair


@admin.register(Proposal)
class ProposalAdmin(MachineWrittenAdmin):
    """Two pairs that are alike and differ in a fact: which of them is right, a person knows.

    Accepting lets the newer pair stand for the older one; dismissing lets both stand.
    """

    actions = ["accept", "dismiss"]
    list_display = ["id", "shown_status", "shown_kind", "shown_newer", "shown_older", "reason", "shown_similarity"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("run", AutocompleteSelectFilter),
        ("created_at", DayRangeFilter),
    ]
    search_fields = ["reason", "=sft_pair__id", "=preference_pair__id"]
    search_help_text = "Words of the reason, or the number of the newer pair"
    ordering = ["-status", "-similarity"]
    list_select_related = ["sft_pair", "other_sft_pair", "preference_pair", "other_preference_pair"]
    fields = [
        "shown_status",
        "kind",
        "reason",
        "similarity",
        "shown_newer_text",
        "shown_older_text",
        "shown_run",
        "created_at",
        "decided_by",
        "decided_at",
    ]

    @display(description="status", label={"open": "warning", "accepted": "success", "dismissed": "info"})
    def shown_status(self, row: Proposal) -> str:
        """Return the status, coloured."""
        return row.status

    @display(description="kind", ordering="kind")
    def shown_kind(self, row: Proposal) -> str:
        """Return the kind in one word."""
        return str(row.kind)

    @display(description="similarity", ordering="similarity")
    def shown_similarity(self, row: Proposal) -> str:
        """Return the cosine of the two, short enough to leave the room to the texts."""
        return f"{row.similarity:.3f}"

    @display(description="newer, suggested")
    def shown_newer(self, row: Proposal) -> SafeString:
        """Return the beginning of the newer pair with a link to it."""
        return _beginning(row.sft_pair or row.preference_pair)

    @display(description="older")
    def shown_older(self, row: Proposal) -> SafeString:
        """Return the beginning of the older pair with a link to it."""
        return _beginning(row.other_sft_pair or row.other_preference_pair)

    @display(description="newer, suggested")
    def shown_newer_text(self, row: Proposal) -> SafeString:
        """Return the newer pair whole."""
        return _whole(row.sft_pair or row.preference_pair)

    @display(description="older")
    def shown_older_text(self, row: Proposal) -> SafeString:
        """Return the older pair whole."""
        return _whole(row.other_sft_pair or row.other_preference_pair)

    @display(description="night", ordering="run")
    def shown_run(self, row: Proposal) -> str:
        """Return a link to the night."""
        return link_to(MaintenanceRun, row.run_id)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether this person may decide: who may change proposals."""
        return request.user.has_perm("maintenance.change_proposal")

    @admin.action(description="Accept: the newer pair stands for the older one", permissions=["decide"])
    def accept(self, request: HttpRequest, proposals: QuerySet[Proposal]) -> None:
        """Let the newer pair of each selected proposal stand for the older one."""
        try:
            count = accept(proposals=proposals, user=request.user)  # type: ignore[arg-type]  # a person is logged in
        except UndecidableError as error:
            self.message_user(request, f"Nothing was decided. {error}", messages.ERROR)
            return
        text = ngettext("%d proposal accepted.", "%d proposals accepted.", count) % count
        self.message_user(request, text, messages.SUCCESS)

    @admin.action(description="Dismiss: both pairs stand", permissions=["decide"])
    def dismiss(self, request: HttpRequest, proposals: QuerySet[Proposal]) -> None:
        """Let both pairs of each selected proposal stand."""
        count = dismiss(proposals=proposals, user=request.user)  # type: ignore[arg-type]  # a person is logged in
        text = ngettext("%d proposal dismissed.", "%d proposals dismissed.", count) % count
        self.message_user(request, text, messages.SUCCESS)


def _texts(pair: TrainingPair | None) -> tuple[str, ...]:
    if isinstance(pair, SftPair):
        return pair.instruction, pair.response
    if isinstance(pair, PreferencePair):
        return pair.prompt[-1]["content"], pair.chosen, pair.rejected
    return ()


def _beginning(pair: TrainingPair | None) -> SafeString:
    return format_html("{}{}", lines(*_texts(pair)), _link(pair))


def _whole(pair: TrainingPair | None) -> SafeString:
    return format_html("{}{}", preformatted("\n\n".join(_texts(pair))), _link(pair))


def _link(pair: Any) -> str:
    return "-" if pair is None else link_to(type(pair), pair.pk)
