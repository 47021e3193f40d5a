"""Counts are kept for a minute; the progression is what the nights' reports said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from dualchannel_site.desk.dashboard.snapshot import forget_snapshot, snapshot
from maintenance.models import MaintenanceRun
from tests.memory import rows

pytestmark = pytest.mark.django_db

BEGUN = datetime(2026, 5, 1, 3, tzinfo=UTC)


def night(folder: Path, *, day: int, unused: int, text: str | None = None) -> MaintenanceRun:
    """Store a night with its report in a folder of its own."""
    own = folder / f"night-{day}"
    own.mkdir()
    pools = {"sft": {"unused": unused, "used": 2, "merged": 0}, "preference": {"unused": 5, "used": 6}}
    (own / "report.json").write_text(json.dumps({"pools": pools}) if text is None else text)
    return MaintenanceRun.objects.create(
        config_path="n", config={}, report=str(own), started_at=BEGUN + timedelta(days=day)
    )


def test_the_nights_stand_in_their_order_with_what_their_reports_counted(tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    first, second = night(tmp_path, day=0, unused=10), night(tmp_path, day=1, unused=12)
    found = snapshot().nights
    assert [(each.night, each.unused_sft, each.used_sft) for each in found] == [
        (first.pk, 10, 2),
        (second.pk, 12, 2),
    ]
    assert (found[0].unused_preference, found[0].used_preference) == (5, 6)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"pools": {"sft": {}}}', '{"pools": {"sft": null, "preference": null}}', "[" * 90_000],
)
def test_a_report_that_cannot_be_read_is_left_out(text: str, tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    night(tmp_path, day=0, unused=10, text=text)
    good = night(tmp_path, day=1, unused=12)
    assert [each.night for each in snapshot().nights] == [good.pk]


def test_a_report_outside_of_the_artifacts_is_not_read(tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    settings.ARTIFACTS_DIR.mkdir()
    (tmp_path / "secret").mkdir()
    outside = night(tmp_path / "secret", day=0, unused=10)
    night(tmp_path / "artifacts", day=1, unused=1)
    # A link leads out, too.
    (tmp_path / "artifacts" / "link").symlink_to(outside.report)
    MaintenanceRun.objects.create(config_path="n", config={}, report=str(tmp_path / "artifacts" / "link"))
    assert [each.unused_sft for each in snapshot().nights] == [1]


def test_only_the_newest_nights_are_read(tmp_path: Path, settings: Settings) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    for day in range(33):
        night(tmp_path, day=day, unused=day)
    assert [each.unused_sft for each in snapshot().nights] == list(range(3, 33))


def test_counts_are_kept_with_their_time(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows.sft_pair()
    rows.preference_pair()
    with django_assert_num_queries(9):
        first = snapshot()
    rows.sft_pair()
    with django_assert_num_queries(0):
        second = snapshot()
    assert (second.sft.unused, second.taken_at) == (1, first.taken_at)
    forget_snapshot()
    assert snapshot().sft.unused == 2
