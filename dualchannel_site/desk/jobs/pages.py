"""The pages that show jobs: the list, one job, how far it is."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from dualchannel_site.desk.jobs.permissions import CANCEL, READ_PAIRS, START, VIEW, for_those_who, may_start
from dualchannel_site.desk.jobs.results import result_tables
from dualchannel_site.desk.jobs.unfinished import unfinished_run
from dualchannel_site.desk.models import Job

PER_PAGE = 50
# htmx takes the content of such an answer, and asks no more.
STOP_POLLING = 286
STATUS_COLOURS = {
    Job.Status.QUEUED: "info",
    Job.Status.RUNNING: "info",
    Job.Status.SUCCEEDED: "success",
    Job.Status.FAILED: "danger",
    Job.Status.CANCELLED: "warning",
    Job.Status.INTERRUPTED: "warning",
}
_HEAVY = ("options", "messages", "result", "error", "traceback")


@require_safe
@for_those_who(VIEW)
def jobs(request: HttpRequest) -> HttpResponse:
    """List the jobs, newest first, a page beginning after the job `before`."""
    before = request.GET.get("before", "")
    rows = Job.objects.select_related("requested_by").defer(*_HEAVY).order_by("-pk")
    if before:
        if not (before.isascii() and before.isdigit() and len(before) < 19):
            return HttpResponseBadRequest(f"before: got {before[:40]!r}, allowed the number of a job", "text/plain")
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: PER_PAGE + 1])
    shown = found[:PER_PAGE]
    context = {
        "title": "Jobs",
        "jobs": [(job, _colour(job)) for job in shown],
        "older": shown[-1].pk if len(found) > PER_PAGE else None,
        "is_first": not before,
        "may_start": may_start(request),
        "pages": {
            "extraction": reverse("desk:start-extraction"),
            "training": reverse("desk:plan-training"),
            "night": reverse("desk:start-night"),
        },
    }
    return _page(request, "list", context)


@require_safe
@for_those_who(VIEW)
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one job: what was asked for, how far it is, what it came to."""
    found = _job(pk)
    return _page(request, "detail", {"title": found.title, **_context(request, found)})


def polled(request: HttpRequest, pk: int) -> HttpResponse:
    """Give `progress` as a page of the admin; send whoever is logged in no more to the login, and to the job's page.

    A redirect would have htmx follow it, and fill the job's page with the form.
    """
    if request.headers.get("HX-Request") != "true" or admin.site.has_permission(request):
        return admin.site.admin_view(progress)(request, pk)
    login = redirect_to_login(reverse("desk:job", args=[pk]), reverse("admin:login"))
    return HttpResponse(status=STOP_POLLING, headers={"HX-Redirect": login.url})


@require_safe
@for_those_who(VIEW)
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """Give the parts of a job's page that change while it works; once it has ended or died, the buttons, too."""
    found = _job(pk)
    context = {**_context(request, found), "is_update": True}
    status = HTTPStatus.OK if context["is_live"] else STOP_POLLING
    return render(request, "desk/jobs/_progress.html", context, status=status)


def page_of_job(request: HttpRequest, found: Job, *, status: int, error: str, other: Job | None = None) -> HttpResponse:
    """Return the job's page with an error on top, for a wish that could not be granted because of the `other` job."""
    found = _job(found.pk)
    context = {"title": found.title, "refusal": error, "other": other, **_context(request, found)}
    return _page(request, "detail", context, status=status)


def _page(request: HttpRequest, name: str, context: dict[str, Any], *, status: int = HTTPStatus.OK) -> HttpResponse:
    return render(request, f"desk/jobs/{name}.html", {**admin.site.each_context(request), **context}, status=status)


def _job(pk: int) -> Job:
    rows = Job.objects.select_related("requested_by", "cancelled_by", "training_run", "maintenance_run")
    # The rows of runs are here for their state alone.
    heavy = [f"training_run__{name}" for name in ("config", "metrics", "evaluation", "traceback")]
    return get_object_or_404(rows.defer(*heavy, "maintenance_run__config"), pk=pk)


def _context(request: HttpRequest, found: Job) -> dict[str, Any]:
    user = request.user
    may_be_cancelled = found.is_dead or (found.is_open and found.cancel_requested_at is None)
    is_ended_plan = found.kind == Job.Kind.PLAN and found.status == Job.Status.SUCCEEDED
    is_live = found.is_open and not found.is_dead
    return {
        "job": found,
        "is_live": is_live,
        "colour": _colour(found),
        "options": chosen(found),
        "tables": result_tables(found, with_texts=user.has_perms(READ_PAIRS)),
        "may_cancel": may_be_cancelled and user.has_perms(CANCEL),
        "may_train": is_ended_plan and user.has_perms(START[Job.Kind.TRAINING]),
        "may_resume": not is_live and user.has_perms(START[Job.Kind.TRAINING]) and _can_go_on(found),
        "may_see_run": user.has_perm("training.view_trainingrun"),
        "may_see_night": user.has_perm("maintenance.view_maintenancerun"),
    }


def _can_go_on(found: Job) -> bool:
    """Return whether the run that a training job began was stopped, and nobody goes on with it."""
    run = found.training_run
    if found.kind != Job.Kind.TRAINING or run is None or not run.is_unfinished:
        return False
    try:
        return unfinished_run(found.options["config"], found.options["overrides"]) == run
    except ValueError:
        # The config is gone, or cannot be used any more.
        return False


def _colour(found: Job) -> str:
    return "warning" if found.is_dead else STATUS_COLOURS[Job.Status(found.status)]


def chosen(found: Job) -> list[tuple[str, str]]:
    """Return what was chosen for a job, as words for a person."""
    options = found.options
    if found.kind == Job.Kind.EXTRACTION:
        since = options.get("since")
        # The midnight of a day here, which in UTC may be the day before.
        day = f"{timezone.localtime(datetime.fromisoformat(since)):%Y-%m-%d}" if since else ""
        return [("conversations", f"what was said since {day}" if since else "all")]
    if found.kind == Job.Kind.NIGHT:
        return [("steps", ", ".join(options["steps"])), ("run", "dry run" if options["dry_run"] else "for real")]
    lines = [("config", options["config"]), ("values over it", ", ".join(options["overrides"]) or "none")]
    if options.get("plan"):
        lines.append(("after plan", f"job {options['plan']}"))
    if options.get("resume"):
        lines.append(("resumes", "the run that was stopped"))
    return lines
