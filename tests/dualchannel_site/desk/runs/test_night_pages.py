"""The page of a night has its morning report as it reads; the list of topics has their coverage drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from maintenance.models import Clustering, MaintenanceRun

pytestmark = pytest.mark.django_db


def night(folder: Path) -> MaintenanceRun:
    return MaintenanceRun.objects.create(config_path="n.yaml", config={}, report=str(folder))


def shown(client: Client, run: MaintenanceRun) -> str:
    return client.get(reverse("admin:maintenance_maintenancerun_change", args=[run.pk])).content.decode()


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACTS_DIR = tmp_path
    (tmp_path / "2026-05-01").mkdir()
    return tmp_path / "2026-05-01"


def test_the_morning_report_is_read_as_markdown(admin_client: Client, folder: Path) -> None:
    (folder / "report.md").write_text("# Night 1\n\n| channel | unused |\n|---|---|\n| memory | 12 |\n\n**Failed.**\n")
    page = shown(admin_client, night(folder))
    assert "<td>memory</td>" in page
    assert "<strong>Failed.</strong>" in page
    assert page.index("<strong>Failed.</strong>") < page.lower().index("resolved config")


def test_a_report_cannot_bring_html_in(admin_client: Client, folder: Path) -> None:
    (folder / "report.md").write_text("<script>alert('x')</script>\n\n[x](javascript:alert(1))\n")
    page = shown(admin_client, night(folder))
    assert "<script>alert" not in page
    assert 'href="javascript' not in page


def test_a_report_that_is_gone_is_said_to_be(admin_client: Client, folder: Path) -> None:
    assert f"{folder} is gone, or cannot be read" in shown(admin_client, night(folder))


def test_a_night_without_a_report_says_so(admin_client: Client) -> None:
    run = MaintenanceRun.objects.create(config_path="n.yaml", config={})
    assert "no report was written" in shown(admin_client, run)


def test_a_file_outside_of_the_artifacts_is_not_shown(admin_client: Client, tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    (tmp_path / "report.md").write_text("# Secret")
    page = shown(admin_client, night(tmp_path))
    assert "Secret" not in page
    assert "allowed a folder under" in page


def test_the_list_of_topics_draws_their_coverage(admin_client: Client) -> None:
    for number, undone in ((1, False), (2, False), (3, True)):
        Clustering.objects.create(
            embedder="a",
            k=4,
            pairs=5,
            coverage=number / 4,
            drift=None if number == 1 else 0.1,
            centroids=b"",
            undone_at="2026-05-01T03:00Z" if undone else None,
        )
    page = admin_client.get(reverse("admin:maintenance_clustering_changelist")).content.decode()
    assert "At last 50% of 4 topics hold an unused pair." in page
    assert page.count("<canvas") == 1
    assert "75.0 %" not in page
