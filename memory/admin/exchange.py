"""Pairs out of a list into a file, and out of an uploaded file into the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from import_export.admin import ImportExportMixin
from unfold.contrib.import_export.forms import ImportForm

from memory.admin.base import DeskAdmin
from memory.admin.lists import BadFilterError, rows_of, stored_query
from memory.exchange.files import MAX_IMPORT_BYTES, UnreadableUploadError
from memory.exchange.formats import csv_lines, json_lines
from memory.exchange.pairs import OPTIONAL, RECORDS, REQUIRED
from memory.exchange.resources import pages
from memory.exchange.uploads import UploadGoneError, UploadStorage

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# What TRL reads of a pair.
_TEXTS = {"sftpair": ("context", "instruction", "response"), "preferencepair": ("prompt", "chosen", "rejected")}


class BoundedImportForm(ImportForm):
    """An upload of at most `MAX_IMPORT_BYTES`."""

    def clean_import_file(self) -> Any:
        """Refuse a file that is too large to be read within a request."""
        upload = self.cleaned_data["import_file"]
        if upload.size > MAX_IMPORT_BYTES:
            raise ValidationError(
                f"file: got {filesizeformat(upload.size)}, allowed {filesizeformat(MAX_IMPORT_BYTES)} or less;"
                " a larger one goes through `manage.py import_conversations`"
            )
        return upload


class ExchangeDesk(ImportExportMixin, DeskAdmin):
    """A list that can be exported as it is filtered, and added to by a file after a look at what would come of it."""

    import_form_class = BoundedImportForm
    import_template_name = "admin/memory/import.html"
    import_export_change_list_template = None
    tmp_storage_class = UploadStorage
    # One entry an import; the library writes one a row.
    skip_admin_log = True

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Whoever may add pairs may add them by a file."""
        allowed: bool = request.user.has_perm(f"{self.opts.app_label}.add_{self.opts.model_name}")
        return allowed

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whoever sees pairs may take them along."""
        allowed: bool = self.has_view_permission(request)
        return allowed

    @method_decorator(require_POST)
    def export_action(self, request: HttpRequest) -> Any:
        """Stream the pairs of the filter, newest first, as the form asks: csv or jsonl."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        kind, query = request.POST.get("format", ""), stored_query(request.POST.get("query", ""))
        try:
            if kind not in ("csv", "jsonl"):
                raise BadFilterError(f"format: got {kind!r}, allowed csv, jsonl")
            pairs = rows_of(self, request, query)
        except BadFilterError as error:
            return self.refused(request, str(error))
        self._log(request, CHANGE, f"exported as {kind}: {query or 'all'}")
        name = f"{self.opts.verbose_name_plural} {timezone.localdate():%Y-%m-%d}.{kind}".replace(" ", "-")
        return StreamingHttpResponse(
            self._lines(kind, pairs),
            content_type=f"{'text/csv' if kind == 'csv' else 'application/jsonl'}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _lines(self, kind: str, pairs: Any) -> Iterator[str]:
        if kind == "jsonl":
            return json_lines(pages(pairs.only(*_TEXTS[self.opts.model_name])))
        (resource,) = self.resource_classes
        return csv_lines(resource().cells(pairs))

    def get_resource_index(self, form: Any) -> int:
        """Return the place of the only resource, whatever a form says."""
        return 0

    def write_to_tmp_storage(self, import_file: Any, input_format: Any) -> UploadStorage:
        """Write the upload down without holding it in memory."""
        storage = UploadStorage()
        storage.keep(import_file)
        return storage

    def add_data_read_fail_error_to_form(self, form: Any, e: Exception) -> None:
        """Say what is wrong with the file."""
        if not isinstance(e, UnreadableUploadError):
            raise e
        form.add_error("import_file", str(e))

    def get_import_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the page says about files."""
        taken = {"required": REQUIRED[self.model], "optional": OPTIONAL[self.model], "records": RECORDS[self.model]}
        return {**taken, "largest": filesizeformat(MAX_IMPORT_BYTES)}

    @method_decorator(require_POST)
    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Import the file that was previewed, once; where that failed a second try passes over what is stored."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        kind, kinds = request.POST.get("format", ""), [str(place) for place, _ in enumerate(self.get_import_formats())]
        try:
            if kind not in kinds:
                raise UnreadableUploadError(f"format: got {kind!r}, allowed {', '.join(kinds)}; upload it again")
            with UploadStorage(name=request.POST.get("import_file_name", "")).claimed():
                response: HttpResponse = super().process_import(request, **kwargs)
        except (UploadGoneError, UnreadableUploadError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.address("import"))
        return response

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """Say what came of the import, and write down who made it."""
        outcome = result.outcome
        text = (
            f"Import finished: {outcome.created} new, {outcome.already_present} stored before,"
            f" {outcome.refused} left out."
        )
        self._log(request, ADDITION, text)
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))

    def _log(self, request: HttpRequest, flag: int, text: str) -> None:
        LogEntry.objects.create(
            user=cast("User", request.user),
            content_type=ContentType.objects.get_for_model(self.model),
            object_repr=str(self.opts.verbose_name_plural),
            action_flag=flag,
            change_message=text,
        )
