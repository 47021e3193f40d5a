"""Who may look at jobs, start each kind, cancel them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from dualchannel_site.desk.models import Job

View = Callable[..., HttpResponse]

VIEW = ("desk.view_job",)
CANCEL = ("desk.view_job", "desk.change_job")
_ADD = ("desk.view_job", "desk.add_job")
_CHANGE_PAIRS = ("memory.change_sftpair", "memory.change_preferencepair")
# What a job does with pairs, its owner could do by hand: extraction adds them, training and nights change them.
START: Mapping[str, Sequence[str]] = {
    Job.Kind.EXTRACTION: (*_ADD, "memory.add_sftpair", "memory.add_preferencepair"),
    Job.Kind.PLAN: (*_ADD, *_CHANGE_PAIRS),
    Job.Kind.TRAINING: (*_ADD, *_CHANGE_PAIRS),
    Job.Kind.NIGHT: (*_ADD, *_CHANGE_PAIRS),
}
# A plan's examples are sentences of conversations.
READ_PAIRS = ("memory.view_sftpair", "memory.view_preferencepair")


def for_those_who(permissions: Sequence[str]) -> Callable[[View], View]:
    """Return a decorator that answers 403 to whoever lacks one of `permissions`."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
            if not request.user.has_perms(permissions):
                raise PermissionDenied(f"needed: {', '.join(permissions)}")
            return view(request, *arguments, **named)

        return guarded

    return decorate


def may_start(request: HttpRequest) -> dict[str, bool]:
    """Return for each kind of job whether this person may start one."""
    return {kind: request.user.has_perms(permissions) for kind, permissions in START.items()}
