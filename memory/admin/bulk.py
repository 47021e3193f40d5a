"""Decisions on many rows of a list: on those that are selected at once, on all of a filter after a dry run."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from memory.admin.base import DeskAdmin
from memory.admin.filters import key_of
from memory.admin.lists import BadFilterError, rows_of, stored_query
from memory.bulk_decisions import advance, begin, decide_selected, preview
from memory.importers.fields import shown
from memory.models import BulkDecision
from memory.models.bulk_decisions import MAX_REASON_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Action = BulkDecision.Action
# What a decision is called on a button, what it has done to one pair and to many.
OFFERED = {
    Action.APPROVE: ("Approve", "%d pair approved.", "%d pairs approved."),
    Action.REJECT: ("Reject", "%d pair rejected.", "%d pairs rejected."),
    Action.REOPEN: ("Put back to pending", "%d pair put back to pending.", "%d pairs put back to pending."),
    Action.REEMIT: (
        "Re-emit: offer used pairs to training again",
        "%d used pair re-emitted.",
        "%d used pairs re-emitted.",
    ),
    Action.UNARCHIVE: (
        "Take out of the archive",
        "%d pair taken out of the archive.",
        "%d pairs taken out of the archive.",
    ),
}
NOT_AS_SEEN = "Other pairs pass the filter than when you looked: nothing is decided yet."


class BulkDesk(DeskAdmin):
    """A list whose rows can be decided many at a time, and the decision undone."""

    def get_urls(self) -> list[URLPattern]:
        """Add the address that previews and makes a decision."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_bulk"
        return [path("bulk/", self.admin_site.admin_view(self.bulk_view), name=name), *super().get_urls()]

    @admin.action(description=OFFERED[Action.APPROVE][0], permissions=["change"])
    def approve(self, request: HttpRequest, pairs: QuerySet[Any]) -> HttpResponse | None:
        """Mark the selected pairs as checked and good."""
        return self._decide_selected(request, pairs, Action.APPROVE)

    @admin.action(description=OFFERED[Action.REJECT][0], permissions=["change"])
    def reject(self, request: HttpRequest, pairs: QuerySet[Any]) -> HttpResponse | None:
        """Keep the selected pairs out of training."""
        return self._decide_selected(request, pairs, Action.REJECT)

    @admin.action(description=OFFERED[Action.REOPEN][0], permissions=["change"])
    def reopen(self, request: HttpRequest, pairs: QuerySet[Any]) -> HttpResponse | None:
        """Take the decision on the selected pairs back."""
        return self._decide_selected(request, pairs, Action.REOPEN)

    @admin.action(description=OFFERED[Action.REEMIT][0], permissions=["change"])
    def reemit(self, request: HttpRequest, pairs: QuerySet[Any]) -> HttpResponse | None:
        """Ask why the selected pairs shall be offered to training again."""
        return self._confirmation(request, pairs, Action.REEMIT, selected=_keys(request, ACTION_CHECKBOX_NAME))

    @admin.action(description=OFFERED[Action.UNARCHIVE][0], permissions=["change"])
    def unarchive(self, request: HttpRequest, pairs: QuerySet[Any]) -> HttpResponse | None:
        """Put the selected archived pairs back where they were."""
        return self._decide_selected(request, pairs, Action.UNARCHIVE)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Do an action with the selected rows alone; all rows of a filter are decided by `bulk_view`, which asks."""
        try:
            selected = _keys(request, ACTION_CHECKBOX_NAME)
        except BadFilterError as error:
            return self.refused(request, str(error))
        response: HttpResponse | None = super().response_action(request, queryset.filter(pk__in=selected))
        return response

    @method_decorator(require_POST)
    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Show what a decision would change; with `confirm`, make it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        asked = request.POST
        action, reason = asked.get("action", ""), " ".join(asked.get("reason", "").replace("\0", " ").split())
        if action not in Action.values:
            return self.refused(request, f"action: got {action!r}, allowed {', '.join(Action.values)}")
        query = stored_query(asked.get("query", ""))
        try:
            selected = _keys(request, "selected")
            pairs = self.model.objects.filter(pk__in=selected) if selected else rows_of(self, request, query)
        except BadFilterError as error:
            return self.refused(request, str(error))
        problem, status = "", HTTPStatus.OK
        if "confirm" in asked:
            if problem := _problem(action, reason):
                status = HTTPStatus.BAD_REQUEST
            elif (meant := pairs if selected else _as_seen(request, pairs, action)) is None:
                problem, status = NOT_AS_SEEN, HTTPStatus.CONFLICT
            else:
                return self._decide(request, meant, action, query=query, reason=reason, selected=selected)
        return self._confirmation(
            request, pairs, action, query=query, selected=selected, reason=reason, problem=problem, status=status
        )

    def _decide_selected(self, request: HttpRequest, pairs: QuerySet[Any], action: str) -> HttpResponse | None:
        self._tell(request, action, decide_selected(pairs=pairs, action=action, user=_person(request)))
        return None

    def _decide(
        self, request: HttpRequest, pairs: QuerySet[Any], action: str, *, query: str, reason: str, selected: list[int]
    ) -> HttpResponse:
        if selected:
            found = decide_selected(pairs=pairs, action=action, user=_person(request), reason=reason)
            self._tell(request, action, found)
            return HttpResponseRedirect(self.list_address(query))
        decision = begin(pairs=pairs, action=action, user=_person(request), query=query, reason=reason)
        advance(decision, pairs=pairs)
        return HttpResponseRedirect(reverse("admin:memory_bulkdecision_change", args=[decision.pk]))

    def _tell(self, request: HttpRequest, action: str, decision: BulkDecision | None) -> None:
        """Say how many pairs were changed, with the way back."""
        count = decision.changed if decision is not None else 0
        _, one, many = OFFERED[Action(action)]
        text = ngettext(one, many, count) % count
        if decision is None:
            self.message_user(request, text, messages.SUCCESS)
            return
        page = reverse("admin:memory_bulkdecision_change", args=[decision.pk])
        said = format_html('{} <a href="{}" class="underline">Undo…</a>', text, page)
        self.message_user(request, said, messages.SUCCESS)

    def _confirmation(
        self,
        request: HttpRequest,
        pairs: QuerySet[Any],
        action: str,
        *,
        query: str = "",
        selected: list[int] | None = None,
        reason: str = "",
        problem: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> HttpResponse:
        counts = preview(pairs=pairs, action=action)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": OFFERED[Action(action)][0],
            "action": action,
            "asks_reason": action == Action.REEMIT,
            "max_reason_length": MAX_REASON_LENGTH,
            "counts": counts,
            "changing": f"{counts.changing:,}",
            "left_alone": f"{counts.left_alone:,}",
            "conditions": conditions(query),
            "query": query,
            "selected": selected or [],
            "reason": reason,
            "problem": problem,
        }
        return TemplateResponse(request, "admin/memory/bulk_confirm.html", context, status=status)


def conditions(query: str) -> list[tuple[str, str]]:
    """Return the parts of a filter as a person reads them: what it looks at, and for what."""
    parts = QueryDict(query)
    return [
        ("search" if name == "q" else name.removesuffix("__exact").replace("__", " ").replace("_", " "), value)
        for name in parts
        for value in parts.getlist(name)
        if name != "o"
    ]


def _keys(request: HttpRequest, name: str) -> list[int]:
    """Return the rows that a form names one by one."""
    keys = []
    for text in request.POST.getlist(name):
        key = key_of(text)
        # Passing it over could leave none, and none stands for all rows of the filter.
        if key is None:
            raise BadFilterError(f"{name}: got {shown(text)}, allowed the numbers of rows")
        keys.append(key)
    return keys


def _as_seen(request: HttpRequest, pairs: QuerySet[Any], action: str) -> QuerySet[Any] | None:
    """Return those of `pairs` that were there when the form counted them; None where that is not what it counted.

    Pairs that came since, by an import or a night, nobody has seen: they are left for another decision.
    """
    highest, *counted = (key_of(request.POST.get(name, "")) for name in ("highest", "changing", "changing_sum"))
    if highest is None or None in counted:
        return None
    seen = pairs.filter(pk__lte=highest)
    counts = preview(pairs=seen, action=action)
    return seen if counted == [counts.changing, counts.changing_sum] else None


def _problem(action: str, reason: str) -> str:
    if action == Action.REEMIT and not reason:
        return "reason: got nothing, allowed a few words: the history keeps why"
    if len(reason) > MAX_REASON_LENGTH:
        return f"reason: got {len(reason)} characters, allowed {MAX_REASON_LENGTH} or less"
    return ""


def _person(request: HttpRequest) -> User:
    return cast("User", request.user)
