"""The pages for what cannot be: one line that says what was got, and a way back."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib import admin
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

# Whoever sent these has to learn what was wrong; other suspicious requests learn nothing.
_EXPLAINED = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that was refused before anybody looked at who sent it."""
    text = f"{exception}\n" if isinstance(exception, _EXPLAINED) else "Bad request.\n"
    return HttpResponse(text, status=HTTPStatus.BAD_REQUEST, content_type="text/plain; charset=utf-8")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a person who may not do that."""
    return _page(request, "Not allowed", _words(exception), HTTPStatus.FORBIDDEN)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request for what is not there."""
    return _page(request, "Not found", _words(exception), HTTPStatus.NOT_FOUND)


def _words(exception: Exception) -> str:
    # The resolver's own exception carries the addresses that it tried, not words.
    return " ".join(each for each in exception.args if isinstance(each, str))


def _page(request: HttpRequest, title: str, message: str, status: HTTPStatus) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "message": message}
    return render(request, "desk/error.html", context, status=status)
