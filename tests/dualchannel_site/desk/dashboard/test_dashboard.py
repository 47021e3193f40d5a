"""The first page of the admin: the numbers of the database, for each person what they may see."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from dualchannel_site.desk.dashboard import cards
from dualchannel_site.desk.dashboard.page import Dashboard
from dualchannel_site.desk.dashboard.snapshot import forget_snapshot
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.roles import set_up_roles
from maintenance.models import Clustering, MaintenanceRun, MaintenanceStep, Proposal
from memory.models import SftPair
from memory.switches import turn
from tests.dualchannel_site.desk.dashboard.people import person
from tests.memory import rows
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert('x')</script>"
# Two of them are session and user, nine the counts that are kept.
QUERIES = 26


class Page(HTMLParser):
    """Gathers the addresses of a page's links and the data of its charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.charts: list[dict[str, object]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "canvas":
            self.charts.append(json.loads(str(found["data-value"])))


def shown(client: Client) -> str:
    response = client.get(reverse("admin:index"))
    assert response.status_code == 200
    return response.content.decode()


def seen(client: Client) -> Dashboard:
    found = client.get(reverse("admin:index")).context["dashboard"]
    assert isinstance(found, Dashboard)
    return found


def use() -> dict[str, object]:
    return {"is_used": True, "used_timestamp": timezone.now(), "training_epoch": 0}


def stage(folder: Path, *, name: str = "dog") -> None:
    """Store pairs of both channels, two nights with reports, a run, a clustering, a proposal, a job."""
    talk = rows.conversation(name)
    pairs = [rows.sft_pair(conversation=talk, instruction=f"{name} {number}?") for number in range(3)]
    rows.sft_pair(conversation=talk, **use())
    rows.sft_pair(review_status="approved", source="introspection")
    rows.preference_pair(chosen=f"{name}!")
    Proposal.objects.create(kind="correction", sft_pair=pairs[0], other_sft_pair=pairs[1], similarity=0.9, reason=name)
    for number in (1, 2):
        own = folder / f"night-{number}"
        own.mkdir()
        pools = {"unused": number, "used": 2 * number}
        (own / "report.json").write_text(json.dumps({"pools": {"sft": pools, "preference": pools}}))
        night = MaintenanceRun.objects.create(config_path=name, config={}, status="failed", report=str(own))
        MaintenanceStep.objects.create(run=night, name="merge", status="succeeded", seconds=61)
        MaintenanceStep.objects.create(run=night, name="train", status="failed", error=name, seconds=4)
        MaintenanceStep.objects.create(run=night, name="evaluate", status="skipped")
    evaluation = {
        "recall_after": 0.875,
        "preference_accuracy_after": 1.0,
        "drift_ratio": -0.0125,
        "did_not_stick": {"sft": [pair.pk for pair in pairs], "preference": []},
    }
    TrainingRun.objects.create(config_path=name, config={}, status="succeeded", evaluation=evaluation, steps=4)
    TrainingRun.objects.create(config_path=name, config={}, status="failed", error=name)
    Clustering.objects.create(embedder=name, k=4, pairs=5, coverage=0.75, drift=0.1, centroids=b"")
    Job.objects.create(kind=Job.Kind.EXTRACTION, progress_text=name)


@pytest.fixture
def staged(tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    stage(tmp_path)


@pytest.mark.usefixtures("staged")
def test_the_numbers_are_those_of_the_database(admin_client: Client) -> None:
    found = seen(admin_client)
    assert [(tile.name, tile.unused, tile.used) for tile in found.tiles] == [("memory", 4, 1), ("preference", 1, 0)]
    assert {each.name: each.shown for each in found.waiting} == {
        "memory pairs to review": "4",
        "preference pairs to review": "1",
        "proposals of the night": "1",
        f"pairs to review that did not stick in run {TrainingRun.objects.successful().get().pk}": "3",
    }
    assert found.switch is not None
    assert (found.switch.is_on, found.switch.pairs.shown) == (False, "1")
    assert found.night is not None
    assert found.night.run == MaintenanceRun.objects.first()
    assert [step.name for step in found.night.failed] == ["train"]
    assert found.night.headline == "1 of 2 steps done, 1 skipped in 1 min 5 s"
    assert [run.status for run in found.runs or []] == ["failed", "succeeded"]
    assert [job.progress_text for job in found.jobs or []] == ["dog"]


@pytest.mark.usefixtures("staged")
def test_the_charts_draw_the_same_numbers(admin_client: Client) -> None:
    drawn = {chart.key: chart for chart in seen(admin_client).charts}
    assert list(drawn) == ["pools", "runs", "age-sft", "reward-sft", "age-preference", "reward-preference", "topics"]
    values = {key: {each.label: list(each.values) for each in chart.series} for key, chart in drawn.items()}
    assert values["pools"] == {
        "memory, unused": [1, 2],
        "memory, used": [2, 4],
        "preference, unused": [1, 2],
        "preference, used": [2, 4],
    }
    assert values["runs"] == {"recall": [87.5], "preference accuracy": [100.0], "drift": [-1.25]}
    assert values["topics"] == {"topics with an unused pair": [75.0], "pairs that changed their topic": [10.0]}
    assert values["age-sft"] == {"unused": [4, 0, 0, 0, 0, 0], "used": [1, 0, 0, 0, 0, 0]}
    (share,) = values["reward-sft"].values()
    assert sum(value or 0 for value in share) == pytest.approx(100)


@pytest.mark.usefixtures("staged")
def test_the_charts_reach_the_theme_with_a_text_beside_each(admin_client: Client) -> None:
    page = shown(admin_client)
    charts = seen(admin_client).charts
    assert [chart["labels"] for chart in Page(page).charts] == [list(chart.labels) for chart in charts]
    assert page.count('role="img" aria-label="') == page.count("<details") == len(charts)
    assert "In run" in page
    assert "recall 87.5 %" in page


@pytest.mark.usefixtures("staged")
def test_the_tiles_lead_to_lists_of_exactly_their_pairs(admin_client: Client) -> None:
    for tile in seen(admin_client).tiles:
        for link, count in ((tile.unused_link, tile.unused), (tile.used_link, tile.used)):
            assert admin_client.get(link).context["cl"].result_count == count


@pytest.mark.usefixtures("staged")
def test_every_link_leads_to_a_page(admin_client: Client) -> None:
    links = {link for link in Page(shown(admin_client)).links if link.startswith("/admin/") and "logout" not in link}
    assert len(links) > 40
    for link in links:
        assert admin_client.get(link.partition("#")[0]).status_code == 200, link


@pytest.mark.usefixtures("staged")
def test_every_chart_leads_to_the_list_behind_it(admin_client: Client) -> None:
    page = Page(shown(admin_client))
    for chart in seen(admin_client).charts:
        assert chart.link in page.links
        assert set(chart.links) <= set(page.links)
        assert len(chart.links) == len(chart.labels)


@pytest.mark.usefixtures("staged")
def test_merged_archived_and_withheld_pairs_do_not_wait(admin_client: Client) -> None:
    pairs = SftPair.objects.filter(review_status="pending", is_used=False)
    merged, archived, rejected = pairs
    SftPair.objects.filter(pk=merged.pk).update(merged_into=archived)
    SftPair.objects.filter(pk=archived.pk).update(archived_at=timezone.now())
    SftPair.objects.filter(pk=rejected.pk).update(review_status="rejected")
    assert seen(admin_client).waiting[0].shown == "1"
    assert seen(admin_client).waiting[-1].shown == "0"


@pytest.mark.usefixtures("staged")
def test_a_pair_that_did_not_stick_waits_until_a_person_has_decided(admin_client: Client) -> None:
    first, *_ = SftPair.objects.filter(review_status="pending", is_used=False)
    first.review_status = "approved"
    first.save()
    assert seen(admin_client).waiting[-1].shown == "2"


def test_what_waits_is_counted_no_further_than_a_person_reads(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "COUNT_LIMIT", 3)
    for _ in range(3):
        rows.sft_pair()
    assert seen(admin_client).waiting[0].shown == "3"
    rows.sft_pair()
    assert seen(admin_client).waiting[0].shown == "3+"


def test_the_switch_says_how_it_stands(admin_client: Client) -> None:
    turn("INTROSPECTION_IN_SFT", on=True)
    found = seen(admin_client).switch
    assert found is not None
    assert found.is_on


def test_a_fresh_installation_is_told_what_to_do_first(admin_client: Client) -> None:
    page = shown(admin_client)
    for command in ("manage.py import_conversations", "manage.py extract_sft_pairs", "manage.py train_dual"):
        assert command in page
    assert [step.is_done for step in seen(admin_client).first_steps] == [False, False, False]
    assert reverse("desk:start-extraction") in page
    assert "No night has run yet." in page
    assert all(chart.is_empty for chart in seen(admin_client).charts)
    assert "<canvas" not in page


def test_first_steps_are_ticked_off_and_then_gone(admin_client: Client) -> None:
    rows.conversation()
    assert [step.is_done for step in seen(admin_client).first_steps] == [True, False, False]
    rows.sft_pair()
    forget_snapshot()
    assert [step.is_done for step in seen(admin_client).first_steps] == [True, True, False]
    TrainingRun.objects.create(config_path="x", config={}, status="succeeded")
    assert seen(admin_client).first_steps == []


def test_texts_of_others_are_shown_as_texts(admin_client: Client, tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    stage(tmp_path, name=ATTACK)
    page = shown(admin_client)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_an_evaluation_of_another_version_is_no_failure(admin_client: Client) -> None:
    for evaluation in ({}, {"recall_after": "high", "did_not_stick": 3}, {"did_not_stick": {"sft": "all"}}):
        TrainingRun.objects.create(config_path="x", config={}, status="succeeded", evaluation=evaluation)
    drawn = {chart.key: chart for chart in seen(admin_client).charts}
    assert drawn["runs"].is_empty


def test_nobody_is_sent_to_the_login(client: Client) -> None:
    assert client.get(reverse("admin:index")).status_code == 302


@pytest.mark.usefixtures("staged")
def test_who_may_see_nothing_is_told_so(client: Client) -> None:
    person(client)
    page = shown(client)
    assert "There is nothing here that you may see." in page
    assert "dog" not in page
    assert "<canvas" not in page


@pytest.mark.usefixtures("staged")
@pytest.mark.parametrize(
    ("permission", "charts"),
    [
        ("memory.view_sftpair", ["pools", "age-sft", "reward-sft"]),
        ("memory.change_preferencepair", ["pools", "age-preference", "reward-preference"]),
        ("training.view_trainingrun", ["runs"]),
        ("maintenance.view_clustering", ["topics"]),
        ("maintenance.view_maintenancerun", []),
        ("maintenance.view_proposal", []),
        ("constance.view_config", []),
        ("desk.view_job", []),
    ],
)
def test_a_person_sees_the_cards_of_what_they_may_see(permission: str, charts: list[str], client: Client) -> None:
    person(client, permission)
    found = seen(client)
    is_shown = permission != "constance.view_config"
    assert ("There is nothing here that you may see." in shown(client)) != is_shown
    assert [each.name for each in found.waiting if "did not stick" in each.name] == []
    assert [chart.key for chart in found.charts] == charts
    assert bool(found.tiles) == permission.startswith("memory.")
    assert (found.night is not None) == (permission == "maintenance.view_maintenancerun")
    assert (found.runs is not None) == (permission == "training.view_trainingrun")
    assert (found.jobs is not None) == (permission == "desk.view_job")
    # The switch's count is one of memory pairs.
    assert found.switch is None
    assert found.buttons == []


@pytest.mark.usefixtures("staged")
def test_a_channel_that_a_person_may_not_see_is_not_drawn(client: Client) -> None:
    person(client, "memory.view_sftpair", "training.view_trainingrun")
    (pools, *_) = seen(client).charts
    assert [each.label for each in pools.series] == ["memory, unused", "memory, used"]
    # The nights behind the curve are not theirs to see.
    assert (pools.link, list(pools.links)) == ("", [])
    assert "preference pairs" not in re.sub(r"(?s)<nav.*?</nav>", "", shown(client)).lower()


@pytest.mark.usefixtures("staged")
def test_viewers_see_all_and_only_operators_get_buttons(client: Client) -> None:
    set_up_roles()
    user = person(client)
    for role, buttons in (("viewer", 0), ("curator", 0), ("operator", 3)):
        user.groups.set([Group.objects.get(name=role)])
        found = seen(client)
        assert len(found.charts) == 7
        assert found.switch is not None
        assert len(found.buttons) == buttons


@pytest.mark.parametrize("count", [1, 12])
def test_the_page_takes_as_many_queries_for_few_rows_as_for_many(
    count: int, admin_client: Client, tmp_path: Path, settings: Settings
) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        Job.objects.all().delete()
        stage(folder, name=f"dog {number}")
    ContentType.objects.clear_cache()
    with CaptureQueriesContext(connection) as first:
        shown(admin_client)
    with CaptureQueriesContext(connection) as kept:
        shown(admin_client)
    assert len(first) == QUERIES
    # The counts of the pools are not asked for again within the minute.
    assert len(kept) == QUERIES - 9


def test_looking_changes_nothing(admin_client: Client, tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    stage(tmp_path)
    with CaptureQueriesContext(connection) as captured:
        shown(admin_client)
    assert not [query["sql"] for query in captured if not query["sql"].startswith(("SELECT", "(SELECT", "PRAGMA"))]
