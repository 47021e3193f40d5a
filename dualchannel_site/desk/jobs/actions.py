"""What people do with jobs: start each kind, cancel one. Nothing of it by GET."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from dualchannel_site.desk.jobs.configs import config_names, planned_config
from dualchannel_site.desk.jobs.forms import ExtractionForm, NightForm, TrainingForm
from dualchannel_site.desk.jobs.pages import page_of_job
from dualchannel_site.desk.jobs.permissions import CANCEL, START, for_those_who
from dualchannel_site.desk.jobs.starting import JobOpenError, cancel_job, start_job
from dualchannel_site.desk.jobs.unfinished import unfinished_run
from dualchannel_site.desk.jobs.waiting import waiting
from dualchannel_site.desk.models import Job
from training.models import TrainingRun

_GET_OR_POST = require_http_methods(["GET", "HEAD", "POST"])


@_GET_OR_POST
@for_those_who(START[Job.Kind.EXTRACTION])
def start_extraction(request: HttpRequest) -> HttpResponse:
    """Show what waits for extraction, or queue one."""
    return _asked(request, Job.Kind.EXTRACTION, "extraction", ExtractionForm(request.POST or None))


@_GET_OR_POST
@for_those_who(START[Job.Kind.NIGHT])
def start_night(request: HttpRequest) -> HttpResponse:
    """Show what a night can do, or queue one."""
    return _asked(request, Job.Kind.NIGHT, "night", NightForm(request.POST or None))


@_GET_OR_POST
@for_those_who(START[Job.Kind.PLAN])
def plan_training(request: HttpRequest) -> HttpResponse:
    """Show which configs there are, or queue the plan of a run; the plan's page has the button that trains."""
    return _asked(request, Job.Kind.PLAN, "training", TrainingForm(request.POST or None))


@require_POST
@for_those_who(START[Job.Kind.TRAINING])
def start_training(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue the training whose plan the job `pk` has made: that config, those values."""
    plan = get_object_or_404(Job, pk=pk)
    if plan.kind != Job.Kind.PLAN or plan.status != Job.Status.SUCCEEDED:
        return page_of_job(
            request, plan, status=HTTPStatus.BAD_REQUEST, error=f"got {plan}, allowed a training plan that succeeded"
        )
    name, overrides, checksum = plan.options["config"], plan.options["overrides"], plan.result.get("config_checksum")
    try:
        planned_config(name, overrides, checksum=checksum)
    except ValueError as error:
        return page_of_job(request, plan, status=HTTPStatus.CONFLICT, error=str(error))
    options = {"config": name, "overrides": overrides, "plan": plan.pk, "config_checksum": checksum}
    return _start(request, Job.Kind.TRAINING, options, refused=_on_page_of(request, plan))


@require_POST
@for_those_who(START[Job.Kind.TRAINING])
def resume_training(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue the rest of the run that the training job `pk` began."""
    began = get_object_or_404(Job, pk=pk)
    if began.kind != Job.Kind.TRAINING:
        return page_of_job(
            request,
            began,
            status=HTTPStatus.BAD_REQUEST,
            error=f"got {began}, allowed a training whose run was stopped",
        )
    options = {"config": began.options["config"], "overrides": began.options["overrides"], "resume": True}
    if (reason := _nothing_to_resume(options)) is not None:
        return page_of_job(request, began, status=HTTPStatus.CONFLICT, error=reason)
    return _start(request, Job.Kind.TRAINING, options, refused=_on_page_of(request, began))


@require_POST
@for_those_who(START[Job.Kind.TRAINING])
def resume_config(request: HttpRequest) -> HttpResponse:
    """Queue the rest of the run of a config that was stopped, whoever began it."""
    name = request.POST.get("config", "")
    if name not in config_names():
        error = f"config: got {name[:100]!r}, allowed {', '.join(config_names())}"
        return _start_page(request, "training", TrainingForm(), status=HTTPStatus.BAD_REQUEST, refusal=error)
    options = {"config": name, "overrides": [], "resume": True}
    if (reason := _nothing_to_resume(options)) is not None:
        return _start_page(request, "training", TrainingForm(), status=HTTPStatus.CONFLICT, refusal=reason)
    return _start(request, Job.Kind.TRAINING, options, refused=_on_start_page(request, "training", TrainingForm()))


@require_POST
@for_those_who(CANCEL)
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel the job `pk`: at once where it waits or is dead, else as soon as it can stop."""
    found = get_object_or_404(Job, pk=pk)
    if not cancel_job(found, user=_person(request)):
        return page_of_job(request, found, status=HTTPStatus.CONFLICT, error=f"{found} has ended already")
    at_work = "told to stop, which may take until the end of its step"
    told = at_work if found.is_open else found.get_status_display().lower()
    messages.success(request, f"Job {found.pk} is {told}.")
    return redirect("desk:job", pk=found.pk)


def _asked(
    request: HttpRequest, kind: Job.Kind, name: str, form: ExtractionForm | NightForm | TrainingForm
) -> HttpResponse:
    """Queue what a start page asks for, or show the page."""
    if request.method == "POST" and form.is_valid():
        return _start(request, kind, form.options(), refused=_on_start_page(request, name, form))
    return _start_page(request, name, form)


def _start(
    request: HttpRequest, kind: Job.Kind, options: dict[str, Any], *, refused: Callable[[JobOpenError], HttpResponse]
) -> HttpResponse:
    """Queue a job and go to its page; where one of its kind is open, answer as `refused` does."""
    try:
        started = start_job(kind=kind, options=options, user=_person(request))
    except JobOpenError as error:
        return refused(error)
    return redirect("desk:job", pk=started.pk)


def _on_start_page(request: HttpRequest, name: str, form: forms.Form) -> Callable[[JobOpenError], HttpResponse]:
    def refused(error: JobOpenError) -> HttpResponse:
        more = {"refusal": str(error), "other": error.job}
        return _start_page(request, name, form, status=HTTPStatus.CONFLICT, **more)

    return refused


def _on_page_of(request: HttpRequest, found: Job) -> Callable[[JobOpenError], HttpResponse]:
    return lambda error: page_of_job(request, found, status=HTTPStatus.CONFLICT, error=str(error), other=error.job)


def _start_page(
    request: HttpRequest, name: str, form: forms.Form, *, status: int = HTTPStatus.OK, **more: Any
) -> HttpResponse:
    title, details = _PAGES[name]
    if form.errors:
        status = HTTPStatus.BAD_REQUEST
    context = {**admin.site.each_context(request), "title": title, "form": form, **details(), **more}
    return render(request, f"desk/jobs/start_{name}.html", context, status=status)


def _stopped_runs() -> dict[str, Any]:
    found: dict[int, tuple[str, TrainingRun]] = {}
    for name in config_names():
        try:
            run = unfinished_run(name, [])
        except ValueError:
            # A config that cannot be used says so when it is chosen.
            continue
        # Of configs that share a folder the one by which the run began.
        if run is not None and (run.pk not in found or Path(run.config_path).name == name):
            found[run.pk] = (name, run)
    return {"stopped": list(found.values())}


def _nothing_to_resume(options: Mapping[str, Any]) -> str | None:
    try:
        run = unfinished_run(options["config"], options["overrides"])
    except ValueError as error:
        return str(error)
    if run is not None:
        return None
    return f"{options['config']}: no run of this config was stopped before its end, or one trains in its folder"


def _person(request: HttpRequest) -> User:
    # The admin lets nobody else in.
    return cast(User, request.user)


_PAGES: Mapping[str, tuple[str, Any]] = {
    "extraction": ("Start extraction", lambda: {"waiting": waiting()}),
    "night": ("Run the night now", lambda: {"config": settings.NIGHTLY_CONFIG}),
    "training": ("Start training", _stopped_runs),
}
