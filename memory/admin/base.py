"""What all pages of the desk share: slim lists, counted messages, texts shown as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import JSONField, Model, QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from memory.admin.lists import LIST_TEXT_LENGTH, SlimChangeList, beginning, exact, newest, sortable_columns
from memory.admin.paginator import BoundedPaginator


class JsonListField(forms.JSONField):
    """A box for a JSON list: an emptied one holds an empty list, and what was typed is shown again as it was typed.

    Django would write its value anew, and fails at half of a surrogate pair.
    """

    def to_python(self, value: Any) -> Any:
        """Return the value in the box."""
        found = super().to_python(value)
        return [] if found is None else found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what was typed."""
        return super().bound_data(data, initial) if self.disabled or data is None else InvalidJSONInput(data)


class DeskAdmin(ModelAdmin):
    """A page whose number of queries does not depend on the number or the size of its rows.

    `list_texts` names the text columns whose beginning is in the list, `list_deferred` the columns that are not.
    """

    list_texts: Iterable[str] = ()
    list_deferred: Iterable[str] = ()
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    # Rows of a filter are decided by a form of their own, which says first how many there are.
    list_disable_select_all = True
    # Counting a whole table for the words "of 3,000,000" costs more than the page.
    show_full_result_count = False
    list_filter_submit = True
    list_fullwidth = True
    # Every JSON column that people write is a list.
    formfield_overrides = {JSONField: {"form_class": JsonListField}}
    compressed_fields = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that leaves big columns alone."""
        return SlimChangeList

    def address(self, page: str) -> str:
        """Return the address of one of the model's pages: `changelist`, `import`."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}")

    def list_address(self, query: str) -> str:
        """Return the address of the list under a query string."""
        return f"{self.address('changelist')}?{query}" if query else self.address("changelist")

    def refused(
        self, request: HttpRequest, problem: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST
    ) -> HttpResponse:
        """Answer what cannot be done with a page that says why."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Not possible"}
        return TemplateResponse(
            request, "admin/memory/bulk_confirm.html", {**context, "problem": problem}, status=status
        )

    def get_sortable_by(self, request: HttpRequest) -> list[Any]:
        """Offer to sort by columns that an index keeps in order; any other would sort the whole table."""
        return sortable_columns(self, self.get_list_display(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search texts within the newest rows alone; numbers and ids, which have an index, within all."""
        fields = self.get_search_fields(request)
        if search_term and fields and all(field.startswith("=") for field in fields):
            return exact(queryset, [field.removeprefix("=") for field in fields], search_term.strip()), False
        if search_term:
            queryset = newest(queryset)
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        return found, may_have_duplicates


class MachineWrittenAdmin(DeskAdmin):
    """A page for rows that only the machine writes: to be read, not to be changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds such a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes what the machine recorded."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes what the machine recorded."""
        return False


def beginnings_of(*fields: str) -> Callable[[Any], SafeString]:
    """Return a list column with the beginning of each text on a line of its own; `fields` are in `list_texts`."""

    @admin.display(description=" / ".join(field.replace("_", " ") for field in fields), ordering=fields[0])
    def column(row: Any) -> SafeString:
        return lines(*(getattr(row, beginning(field)) for field in fields))

    return column


def moment(field: str, description: str | None = None) -> Callable[[Any], SafeString | str]:
    """Return a list column with a time to the minute, short enough to leave the room to the texts."""

    @admin.display(description=description or field.replace("_", " "), ordering=field)
    def column(row: Any) -> SafeString | str:
        value = getattr(row, field)
        return "-" if value is None else unbroken(f"{timezone.localtime(value):%Y-%m-%d %H:%M}")

    return column


def unbroken(text: str) -> SafeString:
    """Return `text` for a list column that must not wrap."""
    return format_html('<span class="desk-unbroken">{}</span>', text)


def lines(*texts: str) -> SafeString:
    """Return each of `texts` on one line of a list column, cut where the column ends."""
    cut = ((one_line(text),) for text in texts)
    return format_html(
        '<span class="desk-lines">{}</span>', format_html_join("", '<span class="desk-line">{}</span>', cut)
    )


def one_line(text: str) -> str:
    """Return at most `LIST_TEXT_LENGTH` characters of `text`, line breaks as spaces, with an ellipsis if cut."""
    flat = " ".join(text.split())
    return flat if len(text) <= LIST_TEXT_LENGTH else f"{flat[:LIST_TEXT_LENGTH].rstrip()}…"


def pretty_json(field: str, description: str | None = None) -> Callable[[Any, Any], SafeString | str]:
    """Return an admin's method that shows a JSON column indented."""

    @admin.display(description=description or field.replace("_", " "))
    def shown(desk: Any, row: Any) -> SafeString | str:
        value = getattr(row, field)
        if not value:
            return "-"
        return code(json.dumps(value, indent=2, ensure_ascii=False))

    return shown


def preformatted(text: str) -> SafeString | str:
    """Return `text`, escaped, with its line breaks and spaces kept."""
    return format_html('<pre class="desk-text">{}</pre>', text) if text else "-"


def code(text: str) -> SafeString | str:
    """Return `text`, escaped, as a program writes it: line breaks kept, letters of one width."""
    return format_html('<pre class="desk-text desk-code">{}</pre>', text) if text else "-"


def link_to(model: type[Model], key: int | None) -> SafeString | str:
    """Return a link to the page of one row that needs no query; "-" where there is none."""
    if key is None:
        return "-"
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[key])
    return format_html('<a href="{}" class="text-link desk-unbroken">{} {}</a>', address, meta.verbose_name, key)
