"""Forms over rows that somebody else may change meanwhile: nobody's change is overwritten unseen."""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.exceptions import ValidationError
from django.forms import CharField, HiddenInput, ModelForm
from django.http import HttpRequest
from django.utils.text import capfirst

from memory.admin.base import DeskAdmin


class SeenForm(ModelForm[Any]):
    """A row as a person corrects it, with a mark of what was seen, so that nobody else's change is overwritten."""

    seen = CharField(widget=HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["seen"] = self.mark(self.instance)

    def mark(self, row: Any) -> str:
        """Return a short mark of a row that any change of what can be typed here changes."""
        typed = [row.serializable_value(name) for name in self.fields if name != "seen"]
        return hashlib.sha256(repr(typed).encode()).hexdigest()[:16]

    def clean(self) -> dict[str, Any] | None:
        """Refuse what was typed over another state than the stored one, which stays to the end of the transaction."""
        pk, model = self.instance.pk, type(self.instance)
        if pk is not None:
            stored = model._default_manager.select_for_update().filter(pk=pk).first()
            if stored is None or self.cleaned_data.get("seen") != self.mark(stored):
                raise ValidationError(
                    f"{capfirst(model._meta.verbose_name)} {pk} was changed since you opened this page, so nothing was "
                    "saved. What you typed is still here; open the page anew for what is stored now."
                )
        return super().clean()


class SeenDesk(DeskAdmin):
    """Pages with such a form."""

    form = SeenForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Add the mark of what is seen, where something can be saved."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not self.has_change_permission(request, obj):
            return fieldsets
        (title, first), *others = fieldsets
        return [(title, {**first, "fields": [*first["fields"], "seen"]}), *others]
