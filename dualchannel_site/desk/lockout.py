"""The page for somebody who failed to log in too often."""

from __future__ import annotations

from typing import Any

from axes.helpers import get_cool_off, get_failure_limit
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def locked_out(request: HttpRequest, response: HttpResponse, credentials: dict[str, Any] | None) -> HttpResponse:
    """Return what axes shows in place of `response`: how often one may fail, and how long one has to wait."""
    cool_off = get_cool_off(request)
    context = {
        **admin.site.each_context(request),
        "title": "Locked out",
        "failure_limit": get_failure_limit(request, credentials),
        "cool_off_minutes": round(cool_off.total_seconds() / 60) if cool_off else None,
    }
    return render(request, "desk/locked_out.html", context, status=429)
