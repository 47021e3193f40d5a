"""Addresses of the lists behind the figures, with their filters."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AnyUser
from django.db.models import Model
from django.urls import reverse

from dualchannel_site.desk.dashboard.pools import AgeBand, AnyPair, RewardBin
from memory.models import SftPair


def may_see(user: AnyUser | AnonymousUser, model: str) -> bool:
    """Return whether a person may see the rows of a model, named as `app.model`."""
    app, name = model.split(".")
    return user.has_perm(f"{app}.view_{name}") or user.has_perm(f"{app}.change_{name}")


def list_of(model: type[Model], **filters: str | int | float) -> str:
    """Return the address of the list of a model, with the filters that the list itself would write."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address


def page_of(model: type[Model], key: int) -> str:
    """Return the address of the page of one row."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[key])


def list_of_age(model: AnyPair, band: AgeBand) -> str:
    """Return the address of the list of the pairs that were said in those days."""
    days = {"created_at_from": band.begin, "created_at_to": band.end}
    return list_of(model, **{name: day.isoformat() for name, day in days.items() if day is not None})


def list_of_reward(model: AnyPair, found: RewardBin) -> str:
    """Return the address of the list of the pairs whose reward, or margin, lies in the bin."""
    column = "reward_intensity" if model is SftPair else "margin"
    return list_of(model, **{f"{column}_from": found.low, f"{column}_to": found.high})
