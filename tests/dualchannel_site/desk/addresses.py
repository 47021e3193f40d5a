"""Every address of the site with a name, filled in with rows that exist."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from dualchannel_site.desk.models import Job
from memory.models import BulkDecision, SavedFilter, SftPair
from tests.dualchannel_site.desk.stock import history_of

# What some pages want to be asked.
QUERIES = {
    "admin:autocomplete": {"app_label": "training", "model_name": "pairuse", "field_name": "run", "term": ""},
}
# Without a name: each row's address without `change/`, and whatever leads nowhere.
UNNAMED = {"<path:object_id>/", "(?P<url>.*)$", ""}


@dataclass(frozen=True)
class Address:
    """One page."""

    name: str
    path: str

    @property
    def query(self) -> dict[str, str]:
        return QUERIES.get(self.name, {})


def all_addresses() -> list[Address]:
    """Return every named address of the site, by name, each once."""
    found = {name: Address(name, _path(name, pattern)) for name, pattern in _patterns(get_resolver(), "")}
    return [found[name] for name in sorted(found)]


def _patterns(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from _patterns(entry, f"{prefix}{entry.namespace}:" if entry.namespace else prefix)
        elif entry.name:
            yield f"{prefix}{entry.name}", entry
        else:
            assert str(entry.pattern) in UNNAMED, f"no name: {entry}"


def _path(name: str, pattern: URLPattern) -> str:
    model = _model_of(name)
    row = model._default_manager.order_by("-pk").first() if model is not None else None
    key = 1 if row is None else row.pk
    if name.endswith("_simple_history"):
        assert row is not None
        return reverse(name, args=[row.pk, history_of(row)])
    values = {
        "app_label": "memory",
        "content_type_id": ContentType.objects.get_for_model(SftPair).pk,
        "channel": "memory",
    }
    names = pattern.pattern.converters or pattern.pattern.regex.groupindex
    return reverse(name, kwargs={each: values.get(each, key) for each in names})


def _model_of(name: str) -> type[models.Model] | None:
    """Return the model whose row an address is about."""
    namespace, _, plain = name.partition(":")
    if plain.endswith("_delete_filter"):
        return SavedFilter
    if plain.startswith("memory_bulk_"):
        return BulkDecision
    if plain == "view_on_site":
        return SftPair
    if namespace == "desk":
        return Job if "job" in plain or "training" in plain else SftPair
    # The switches' stand-in for a model has no rows.
    known = [model for model in admin.site._registry if hasattr(model, "_default_manager")]
    found = [each for each in known if plain.startswith(f"{each._meta.app_label}_{each._meta.model_name}_")]
    return found[0] if found else None
