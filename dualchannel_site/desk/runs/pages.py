"""What the pages of runs, nights and topics show above their rows, as their templates get it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User

from dualchannel_site.desk.dashboard.course_charts import coverage_of_topics, last_topics
from dualchannel_site.desk.dashboard.links import list_of
from dualchannel_site.desk.markdown import render_markdown
from dualchannel_site.desk.runs.answers import read_answers
from dualchannel_site.desk.runs.course import NoCourseError, read_course
from dualchannel_site.desk.runs.curves import curves
from dualchannel_site.desk.runs.figures import run_tables
from dualchannel_site.desk.runs.unlearned import unlearned
from maintenance.models import MaintenanceRun
from maintenance.morning.reading import NoReportError, read_page
from training.models import PairUse, TrainingRun


def of_run(run: TrainingRun, user: User | AnonymousUser) -> dict[str, Any]:
    """Return the curves, the figures, the answers of a run, and the pairs that did not stick; three queries at most."""
    artifacts, problem, course = settings.ARTIFACTS_DIR, "", None
    try:
        course = read_course(run, artifacts=artifacts)
    except NoCourseError as error:
        problem = str(error)
    ledger = list_of(PairUse, run__id__exact=run.pk)
    return {
        "problem": problem,
        "course": course,
        "charts": [] if course is None else list(curves(course, config=run.config, ledger=ledger)),
        "tables": run_tables(run),
        "unlearned": unlearned(run, user),
        "answers": read_answers(run, artifacts=artifacts),
    }


def of_night(run: MaintenanceRun) -> dict[str, Any]:
    """Return the morning report of a night as it reads, or one line that says why there is none."""
    try:
        return {"report": render_markdown(read_page(run, artifacts=settings.ARTIFACTS_DIR))}
    except NoReportError as error:
        return {"problem": str(error)}


def of_topics() -> dict[str, Any]:
    """Return how much of the topics unused pairs cover, clustering by clustering; one query."""
    return {"chart": coverage_of_topics(last_topics())}
