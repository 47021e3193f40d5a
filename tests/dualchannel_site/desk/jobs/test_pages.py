"""The pages of jobs: what they show, to whom, in how many queries."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dualchannel_site.desk.jobs.pages import PER_PAGE, STOP_POLLING
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import DEAD_AFTER
from tests.dualchannel_site.desk.jobs import people
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

OPTIONS: dict[str, dict[str, Any]] = {
    "extraction": {"since": None},
    "plan": {"config": "small.yaml", "overrides": []},
    "training": {"config": "small.yaml", "overrides": [], "plan": 1},
    "night": {"steps": ["merge"], "dry_run": False},
}
CHANNEL = {
    "pool": 10, "held_out": 1, "batches": 4, "pairs_drawn": 8, "epochs": 1, "share_of_steps": 0.5,
    "oldest": "2026-01-31T08:00:00+00:00", "newest": None,
    "by_age": [{"age": "day", "pool": 10, "pairs_drawn": 8, "draws": 9}], "by_reward": [], "by_source": [],
    "by_cluster": [{"cluster": 0, "pool": 10, "pairs_drawn": 8, "draws": 9, "example": "<b>What is my dog called?"}],
}  # fmt: skip
PLAN = {
    "steps": 1234,
    "memory_estimate_bytes": 2**31,
    "memory_estimate_reason": None,
    "expected_seconds": 90.0,
    "sft": CHANNEL,
    "preference": CHANNEL,
}
PAGES = {
    "desk:jobs": None,
    "desk:job": "job",
    "desk:job-progress": "job",
    "desk:start-extraction": None,
    "desk:plan-training": None,
    "desk:start-night": None,
}
DEEDS = {
    "desk:job-cancel": "job",
    "desk:start-training": "plan",
    "desk:resume-training": "job",
    "desk:resume-config": None,
}


def job(kind: str = "night", **fields: object) -> Job:
    return Job.objects.create(**{"kind": kind, "options": OPTIONS[kind], **fields})


def page(desk: Client, row: Job) -> str:
    return desk.get(reverse("desk:job", args=[row.pk])).content.decode()


def address(name: str, needs: str | None) -> str:
    if needs is None:
        return reverse(name)
    row = job("plan", status="succeeded", result=PLAN) if needs == "plan" else job()
    return reverse(name, args=[row.pk])


@pytest.mark.parametrize(("name", "needs"), [*PAGES.items(), *DEEDS.items()])
def test_nobody_gets_no_further_than_the_login(client: Client, name: str, needs: str | None) -> None:
    where = address(name, needs)
    for answer in (client.get(where), client.post(where)):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/")
    assert Job.objects.filter(cancel_requested_at__isnull=False).count() == 0


@pytest.mark.parametrize(("name", "needs"), [*PAGES.items(), *DEEDS.items()])
@pytest.mark.parametrize(
    ("permissions", "sees"),
    [
        ((), set()),
        (people.VIEWER, {"desk:jobs", "desk:job", "desk:job-progress"}),
        (people.CURATOR, {"desk:jobs", "desk:job", "desk:job-progress"}),
        # Whoever may start jobs, but not change pairs, cannot have them changed by a job.
        (("view_job", "add_job"), {"desk:jobs", "desk:job", "desk:job-progress"}),
    ],
)
def test_those_who_may_not_are_refused_and_nothing_changes(
    client: Client, permissions: tuple[str, ...], sees: set[str], name: str, needs: str | None
) -> None:
    client.force_login(people.person("someone", *permissions))
    where = address(name, needs)
    before = list(Job.objects.values())
    if name in PAGES:
        assert client.get(where).status_code == (200 if name in sees else 403)
    if name in DEEDS or "start" in name or "plan" in name:
        assert client.post(where, {"which": "all", "how": "real", "steps": ["merge"]}).status_code == 403
    assert list(Job.objects.values()) == before


@pytest.mark.parametrize(("name", "needs"), PAGES.items())
def test_the_operator_sees_every_page_and_looking_changes_nothing(
    desk: Client, configs: Path, name: str, needs: str | None
) -> None:
    where = address(name, needs)
    before = list(Job.objects.values())
    assert desk.get(where).status_code == 200
    assert list(Job.objects.values()) == before


@pytest.mark.parametrize(("name", "needs"), DEEDS.items())
def test_nothing_is_done_by_get(desk: Client, configs: Path, name: str, needs: str | None) -> None:
    where = address(name, needs)
    before = list(Job.objects.values())
    assert desk.get(where).status_code == 405
    assert list(Job.objects.values()) == before


@pytest.mark.parametrize(
    ("name", "needs"), [*DEEDS.items(), ("desk:start-extraction", None), ("desk:start-night", None)]
)
def test_nothing_is_done_for_a_foreign_page(operator: User, name: str, needs: str | None) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    where = address(name, needs)
    before = Job.objects.count()
    assert strict.post(where, {"which": "all", "how": "real", "steps": ["merge"]}).status_code == 403
    assert Job.objects.count() == before


def test_viewers_see_no_buttons(client: Client) -> None:
    client.force_login(people.person("vera", *people.VIEWER))
    listed = client.get(reverse("desk:jobs")).content.decode()
    assert "/admin/jobs/night/" not in listed
    assert "Cancel the job" not in page(client, job())
    assert "Start training" not in page(client, job("plan", status="succeeded", result=PLAN))


def test_the_operator_sees_buttons(desk: Client) -> None:
    listed = desk.get(reverse("desk:jobs")).content.decode()
    assert all(f'href="/admin/jobs/{start}/"' in listed for start in ("extraction", "training", "night"))
    assert "Cancel the job" in page(desk, job())
    assert "Start training" in page(desk, job("plan", status="succeeded", result=PLAN))


def test_jobs_are_in_the_navigation_of_those_who_may_see_them(client: Client) -> None:
    client.force_login(people.person("vera", "view_job"))
    assert 'href="/admin/jobs/"' in client.get(reverse("admin:index")).content.decode()
    client.force_login(people.person("walter", "view_sftpair"))
    assert 'href="/admin/jobs/"' not in client.get(reverse("admin:index")).content.decode()


def test_the_list_has_the_newest_first_and_goes_on_where_it_ended(desk: Client) -> None:
    rows = [job(status="failed") for _ in range(PER_PAGE + 5)]
    first = desk.get(reverse("desk:jobs"))
    shown = [row.pk for row, _ in first.context["jobs"]]
    assert shown == [row.pk for row in rows[::-1][:PER_PAGE]]
    rest = desk.get(reverse("desk:jobs"), {"before": first.context["older"]})
    assert [row.pk for row, _ in rest.context["jobs"]] == [row.pk for row in rows[::-1][PER_PAGE:]]
    assert rest.context["older"] is None


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "1 OR 1=1", "²"])
def test_a_nonsense_page_of_the_list_is_refused(desk: Client, before: str) -> None:
    answer = desk.get(reverse("desk:jobs"), {"before": before})
    assert answer.status_code == 400
    assert answer.content.decode().startswith("before: got ")


@pytest.mark.parametrize("number", [0, 999, 10**30])
@pytest.mark.parametrize("name", ["desk:job", "desk:job-progress"])
def test_a_job_that_is_not_there_is_not_found(desk: Client, name: str, number: int) -> None:
    assert desk.get(reverse(name, args=[number])).status_code == 404


@pytest.mark.parametrize("name", ["desk:job-cancel", "desk:start-training", "desk:resume-training"])
def test_nothing_is_done_about_a_job_that_is_not_there(desk: Client, name: str) -> None:
    assert desk.post(reverse(name, args=[999])).status_code == 404


def test_the_list_takes_as_many_queries_for_many_jobs_as_for_one(
    desk: Client, operator: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    job(status="failed", requested_by=operator)
    # Session, person, permissions of the person, of the groups, the jobs.
    with django_assert_num_queries(5):
        desk.get(reverse("desk:jobs"))
    for _ in range(PER_PAGE):
        job(status="failed", requested_by=operator)
    with django_assert_num_queries(5):
        desk.get(reverse("desk:jobs"))


@pytest.mark.parametrize("name", ["desk:job", "desk:job-progress"])
def test_a_job_takes_one_query(
    desk: Client, operator: User, django_assert_num_queries: DjangoAssertNumQueries, name: str
) -> None:
    row = job("plan", status="succeeded", result=PLAN, requested_by=operator, cancelled_by=operator)
    with django_assert_num_queries(5):
        desk.get(reverse(name, args=[row.pk]))


def test_an_open_job_is_asked_for_anew_every_two_seconds_and_an_ended_one_no_more(desk: Client) -> None:
    row = job()
    polling = f'hx-get="/admin/jobs/{row.pk}/progress/" hx-trigger="every 2s"'
    assert polling in page(desk, row)
    assert desk.get(reverse("desk:job-progress", args=[row.pk])).status_code == 200
    Job.objects.update(status="succeeded")
    assert "every 2s" not in page(desk, row)
    assert desk.get(reverse("desk:job-progress", args=[row.pk])).status_code == STOP_POLLING


@pytest.mark.parametrize("number", [7, 999])
def test_a_page_whose_session_has_ended_asks_no_more_and_goes_to_the_login(client: Client, number: int) -> None:
    job(pk=7)
    answer = client.get(reverse("desk:job-progress", args=[number]), headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (STOP_POLLING, b"")
    assert answer.headers["HX-Redirect"] == f"/admin/login/?next=/admin/jobs/{number}/"


def test_a_page_that_was_opened_while_the_job_waited_gets_its_run_its_start_and_its_lines(desk: Client) -> None:
    row = job("training")
    assert '<pre id="job-messages"' in page(desk, row)
    run = TrainingRun.objects.create(config_path="small.yaml", config={})
    now = timezone.now()
    Job.objects.update(
        status="running", started_at=now, heartbeat_at=now, host="anvil", training_run=run, messages=["<b>30 pairs"]
    )
    update = desk.get(reverse("desk:job-progress", args=[row.pk])).content.decode()
    assert f">Run {run.pk}</a>" in update
    assert "on anvil" in update
    assert '<pre id="job-messages" hx-swap-oob="innerHTML">&lt;b&gt;30 pairs' in update
    # What a person may have opened is not replaced.
    assert "<details" not in update
    assert "job-actions" not in update


def test_the_last_answer_brings_the_result_and_the_buttons_along(desk: Client) -> None:
    row = job("plan", status="running", started_at=timezone.now(), heartbeat_at=timezone.now())
    fragment = reverse("desk:job-progress", args=[row.pk])
    assert "job-actions" not in desk.get(fragment).content.decode()
    row.succeed(PLAN)
    last = desk.get(fragment).content.decode()
    assert '<div id="job-outcome" hx-swap-oob="innerHTML">' in last
    assert "1,234 steps" in last
    assert "Start training" in last


def test_progress_is_shown_as_words_and_as_a_share(desk: Client) -> None:
    row = job(
        status="running",
        started_at=timezone.now(),
        heartbeat_at=timezone.now(),
        progress_text="step 3 of 8",
        progress_share=0.375,
    )
    shown = page(desk, row)
    assert "step 3 of 8" in shown
    assert 'value="0.3750"' in shown


def test_a_dead_job_is_told_from_a_living_one(desk: Client) -> None:
    old = timezone.now() - DEAD_AFTER - timedelta(seconds=5)
    row = job(status="running", started_at=old, heartbeat_at=old, cancel_requested_at=old)
    shown = page(desk, row)
    assert "No sign of life since" in shown
    assert "Cancel the job" in shown
    assert "every 2s" not in shown
    assert desk.get(reverse("desk:job-progress", args=[row.pk])).status_code == STOP_POLLING
    lists = [desk.get(reverse(name)).content.decode() for name in ("desk:jobs", "admin:index")]
    assert all("No sign of life" in each for each in lists)
    Job.objects.update(heartbeat_at=timezone.now())
    assert "No sign of life since" not in page(desk, row)


def test_a_dead_job_is_closed_by_its_button(desk: Client) -> None:
    old = timezone.now() - 2 * DEAD_AFTER
    row = job(status="running", started_at=old, heartbeat_at=old)
    shown = desk.post(reverse("desk:job-cancel", args=[row.pk]), follow=True).content.decode()
    assert f"Job {row.pk} is interrupted." in shown
    assert "its process is taken for dead" in shown
    assert "Asked to stop by olga" in shown


def test_a_job_that_ended_before_it_was_told_was_not_cancelled(desk: Client, operator: User) -> None:
    row = job(status="succeeded", cancelled_by=operator, cancel_requested_at=timezone.now())
    assert "Asked to stop by olga" in page(desk, row)
    Job.objects.update(status="cancelled")
    assert "Cancelled by olga" in page(desk, row)


def test_a_plan_shows_what_would_be_trained(desk: Client) -> None:
    shown = page(desk, job("plan", status="succeeded", result=PLAN))
    assert "1,234 steps" in shown
    assert "about 2.0 GiB" in shown
    assert "0:01:30" in shown
    assert "2026-01-31 08:00" in shown
    assert "Memory pairs by age" in shown


def test_an_example_of_a_conversation_is_escaped_and_shown_to_those_alone_who_may_read_pairs(
    desk: Client, client: Client
) -> None:
    row = job("plan", status="succeeded", result=PLAN)
    assert "&lt;b&gt;What is my dog called?" in page(desk, row)
    client.force_login(people.person("walter", "view_job"))
    shown = page(client, row)
    assert "1,234 steps" in shown
    assert "What is my dog called?" not in shown


def test_a_failure_is_shown_with_its_traceback_folded_and_escaped(desk: Client) -> None:
    row = job(
        status="failed", error="<script>alert(1)</script>", traceback="Traceback: <img src=x>", messages=["<i>hm"]
    )
    shown = page(desk, row)
    assert "<script>alert(1)" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<summary>Traceback</summary>" in shown
    assert "&lt;img src=x&gt;" in shown
    assert "&lt;i&gt;hm" in shown


@pytest.mark.parametrize("kind", OPTIONS)
def test_every_kind_says_what_was_chosen(desk: Client, kind: str) -> None:
    shown = page(desk, job(kind))
    assert {"extraction": "all", "plan": "small.yaml", "training": "after plan", "night": "for real"}[
        kind
    ] in shown.lower()


def test_a_job_at_work_is_cancelled_by_its_button(desk: Client, operator: User) -> None:
    row = job(status="running", started_at=timezone.now(), heartbeat_at=timezone.now())
    answer = desk.post(reverse("desk:job-cancel", args=[row.pk]), follow=True)
    assert "told to stop" in answer.content.decode()
    row.refresh_from_db()
    assert (row.status, row.cancelled_by) == ("running", operator)
    assert "Told to stop by olga" in page(desk, row)


def test_a_waiting_job_is_cancelled_by_its_button(desk: Client) -> None:
    row = job()
    assert "is cancelled" in desk.post(reverse("desk:job-cancel", args=[row.pk]), follow=True).content.decode()
    assert Job.objects.get().status == "cancelled"


def test_an_ended_job_cannot_be_cancelled(desk: Client) -> None:
    answer = desk.post(reverse("desk:job-cancel", args=[job(status="succeeded").pk]))
    assert answer.status_code == 409
    assert "has ended already" in answer.content.decode()


def test_the_start_page_of_extraction_says_what_came_in_since(desk: Client) -> None:
    from tests.memory import rows

    rows.import_batch(imported_at=timezone.now() - timedelta(days=2), conversations=5, messages=50)
    job("extraction", status="succeeded", started_at=timezone.now() - timedelta(days=1))
    rows.import_batch(imported_at=timezone.now() - timedelta(hours=1), conversations=3, messages=31)
    # It has not seen what was said before, whenever that was imported.
    job("extraction", status="succeeded", started_at=timezone.now(), options={"since": "2026-01-01T00:00:00+00:00"})
    shown = " ".join(desk.get(reverse("desk:start-extraction")).content.decode().split())
    assert "1 import brought 3 new conversations and 31 new messages" in shown
