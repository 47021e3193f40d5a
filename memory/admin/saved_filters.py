"""Filters of a list that a person saves under a name, for themselves or for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from memory.admin.base import DeskAdmin
from memory.admin.lists import BadFilterError, rows_of, stored_query
from memory.models import SavedFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Filters that a person keeps for one list.
MAX_SAVED = 50


class FilterDesk(DeskAdmin):
    """A list that offers saved filters as links."""

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses that save and delete a filter."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        own = [
            path("filters/save/", wrap(self.save_filter_view), name=f"{name}_save_filter"),
            path("filters/<int:pk>/delete/", wrap(self.delete_filter_view), name=f"{name}_delete_filter"),
        ]
        return [*own, *super().get_urls()]

    def saved_filters(self, request: HttpRequest) -> list[SavedFilter]:
        """Return the filters that the list offers to this person, by one query; shared ones as far as there is room."""
        offered = SavedFilter.objects.offered_to(cast("User", request.user), model=self.opts.label_lower)
        return list(offered[: 2 * MAX_SAVED])

    @method_decorator(require_POST)
    def save_filter_view(self, request: HttpRequest) -> HttpResponse:
        """Save the filter of the form under its name."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = stored_query(request.POST.get("query", ""))
        name = " ".join(request.POST.get("name", "").replace("\0", " ").split())
        try:
            rows_of(self, request, query)
        except BadFilterError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.list_address(""))
        problem = self._problem(request, name, query)
        if not problem:
            try:
                with transaction.atomic():
                    SavedFilter.objects.create(
                        owner=cast("User", request.user),
                        model=self.opts.label_lower,
                        name=name,
                        query=query,
                        is_shared="is_shared" in request.POST,
                    )
            except IntegrityError:
                problem = f"name: got {name!r}, which you use already for this list, allowed another one"
        if problem:
            self.message_user(request, problem, messages.ERROR)
        else:
            self.message_user(request, f"Filter {name} saved.", messages.SUCCESS)
        return HttpResponseRedirect(self.list_address(query))

    @method_decorator(require_POST)
    def delete_filter_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Delete a filter of one's own, or one that is shared where the permission to delete filters is there."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = SavedFilter.objects.deletable_by(cast("User", request.user), model=self.opts.label_lower)
        saved = found.filter(pk=pk).first()
        if saved is None:
            raise Http404(f"filter: got {pk}, allowed the number of one of your own")
        saved.delete()
        self.message_user(request, f"Filter {saved.name} deleted.", messages.SUCCESS)
        return HttpResponseRedirect(self.list_address(stored_query(request.POST.get("query", ""))))

    def _problem(self, request: HttpRequest, name: str, query: str) -> str:
        longest = {field.name: field.max_length for field in SavedFilter._meta.concrete_fields}
        for field, value in (("name", name), ("query", query)):
            if not 0 < len(value) <= (longest[field] or 0):
                return f"{field}: got {len(value)} characters, allowed 1 to {longest[field]}"
        if (
            SavedFilter.objects.filter(owner=cast("User", request.user), model=self.opts.label_lower).count()
            >= MAX_SAVED
        ):
            return f"saved filters: got one more than {MAX_SAVED}, allowed {MAX_SAVED} for a list"
        return ""
