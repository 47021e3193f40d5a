"""The record of decisions on many pairs, each with its undoing."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from memory.admin.base import MachineWrittenAdmin, lines, moment
from memory.admin.bulk import conditions
from memory.admin.filters import DayRangeFilter
from memory.admin.lists import BadFilterError, rows_of
from memory.bulk_decisions import MODELS, advance, undo
from memory.models import BulkDecision

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@admin.register(BulkDecision)
class BulkDecisionAdmin(MachineWrittenAdmin):
    """What somebody decided for many pairs at once, how far it has come, and the way back."""

    list_display = ["id", "action", "channel", "shown_rows", "decided_by", moment("decided_at"), "changed", "state"]
    list_filter = [
        ("action", ChoicesDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("decided_at", DayRangeFilter),
    ]
    list_select_related = ["decided_by"]
    search_fields = ["=id", "=decided_by__username"]
    search_help_text = "Number of the decision, or name of a person"
    fieldsets = [
        (None, {"fields": ["action", "channel", "shown_rows", "reason", "decided_by", "decided_at", "changed"]}),
        ("Undone", {"fields": ["undone_by", "undone_at", "restored", "left_alone"]}),
    ]
    change_form_outer_before_template = "admin/memory/bulk_decision.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses that go on with a decision, and that take it back."""
        own = [
            path("<int:pk>/continue/", self.admin_site.admin_view(self.continue_view), name="memory_bulk_continue"),
            path("<int:pk>/undo/", self.admin_site.admin_view(self.undo_view), name="memory_bulk_undo"),
        ]
        return [*own, *super().get_urls()]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever decides on pairs sees what came of it."""
        return super().has_view_permission(request, obj) or any(may_decide(request, name) for name in MODELS)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: BulkDecision | None = None, **kwargs: Any
    ) -> HttpResponse:
        """Show the buttons to those who may decide on these pairs."""
        if obj is not None:
            context["may_decide"] = may_decide(request, obj.channel)
            context["goes_on"] = context["may_decide"] and _goes_on(request, obj)
            context["counts"] = {name: f"{getattr(obj, name):,}" for name in ("changed", "restored", "left_alone")}
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    @method_decorator(require_POST)
    def continue_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Go on where the decision, or its undoing, stopped."""
        decision = self._decision(request, pk)
        if decision.undo_began_at is not None:
            undo(decision, user=cast("User", decision.undone_by or request.user))
        elif decision.has_more:
            desk = self.admin_site.get_model_admin(MODELS[decision.channel])
            try:
                advance(decision, pairs=rows_of(desk, request, decision.query))
            except BadFilterError as error:
                return self.refused(request, str(error), status=HTTPStatus.CONFLICT)
        return self._back(pk)

    @method_decorator(require_POST)
    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put back what the decision changed and nobody has changed since."""
        decision = self._decision(request, pk)
        if decision.undone_at is not None:
            self.message_user(request, f"Decision {pk} is undone already.", messages.ERROR)
        else:
            undo(decision, user=cast("User", request.user))
        return self._back(pk)

    def _decision(self, request: HttpRequest, pk: int) -> BulkDecision:
        decision = BulkDecision.objects.select_related("undone_by").filter(pk=pk).first()
        if decision is None:
            raise Http404(f"decision: got {pk}, allowed the number of a stored one")
        if not may_decide(request, decision.channel):
            raise PermissionDenied
        return decision

    def _back(self, pk: int) -> HttpResponse:
        # Told to fetch the page whatever the method was, as htmx does too.
        page = reverse("admin:memory_bulkdecision_change", args=[pk])
        return HttpResponseRedirect(page, status=HTTPStatus.SEE_OTHER)

    def get_queryset(self, request: HttpRequest) -> QuerySet[BulkDecision]:
        """Return the decisions with the people who made them."""
        rows: QuerySet[BulkDecision] = super().get_queryset(request)
        return rows.select_related("decided_by", "undone_by")

    @display(description="rows")
    def shown_rows(self, row: BulkDecision) -> SafeString:
        """Return the filter in words."""
        if row.is_selection:
            return lines("selected one by one")
        return lines(", ".join(f"{name}: {value}" for name, value in conditions(row.query)) or "all")

    @display(
        description="state", label={"done": "success", "undone": "info", "in progress": "warning", "undoing": "warning"}
    )
    def state(self, row: BulkDecision) -> str:
        """Return how far it has come."""
        if row.undo_began_at is not None:
            return "undoing" if row.has_more else "undone"
        return "in progress" if row.has_more else "done"


def may_decide(request: HttpRequest, channel: str) -> bool:
    """Return whether the person may change pairs of the channel."""
    return request.user.has_perm(f"memory.change_{MODELS[channel]._meta.model_name}")


def _goes_on(request: HttpRequest, decision: BulkDecision) -> bool:
    """Return whether the page goes on by itself: for who decided, or undid, and for who pressed the button on it.

    htmx alone sends the header, after a press; a link to the page does not.
    """
    person = decision.decided_by if decision.undo_began_at is None else decision.undone_by
    return person == request.user or request.headers.get("HX-Request") == "true"
