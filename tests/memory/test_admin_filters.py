"""Filters of the desk keep what they say."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from memory.models import SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db


def listed(client: Client, **parameters: Any) -> set[SftPair]:
    response = client.get(reverse("admin:memory_sftpair_changelist"), parameters)
    assert response.status_code == 200
    return set(response.context["cl"].result_list)


def said(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> SftPair:
    return rows.sft_pair(created_at=datetime(year, month, day, hour, minute, tzinfo=UTC))


class TestDays:
    def test_both_days_are_included_to_their_last_moment(self, admin_client: Client) -> None:
        said(2026, 4, 30, 23, 59)
        first, last = said(2026, 5, 1), said(2026, 5, 2, 23, 59)
        said(2026, 5, 3)
        assert listed(admin_client, created_at_from="2026-05-01", created_at_to="2026-05-02") == {first, last}

    def test_either_end_may_be_open(self, admin_client: Client) -> None:
        old, new = said(2026, 4, 30), said(2026, 5, 1)
        assert listed(admin_client, created_at_from="2026-05-01") == {new}
        assert listed(admin_client, created_at_to="2026-04-30") == {old}

    def test_days_are_those_of_the_time_zone_of_the_settings(self, admin_client: Client, settings: Any) -> None:
        settings.TIME_ZONE = "Asia/Tokyo"
        said(2026, 4, 30, 14, 59)
        kept = said(2026, 4, 30, 15)
        assert listed(admin_client, created_at_from="2026-05-01") == {kept}

    @pytest.mark.parametrize("day", ["soon", "2026-02-30", "9999-12-31x", "0001-01-01"])
    def test_a_date_that_cannot_be_read_shows_nothing_and_says_so(
        self, day: str, admin_client: Client, settings: Any
    ) -> None:
        settings.TIME_ZONE = "Asia/Tokyo"
        said(2026, 5, 1)
        assert listed(admin_client, created_at_from=day) == set()
        page = admin_client.get(reverse("admin:memory_sftpair_changelist"), {"created_at_from": day})
        assert f"got &#x27;{day}&#x27;, allowed a day such as 2026-05-31" in page.content.decode()


def test_pairs_are_filtered_by_review_source_use_and_confidence(admin_client: Client) -> None:
    used: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 0}
    rows.sft_pair()
    approved, imported = rows.sft_pair(review_status="approved"), rows.sft_pair(source="import")
    trained, doubtful = rows.sft_pair(**used), rows.sft_pair(confidence=0.2)
    assert listed(admin_client, review_status__exact="approved") == {approved}
    assert listed(admin_client, source__exact="import") == {imported}
    assert listed(admin_client, is_used__exact=1) == {trained}
    assert listed(admin_client, confidence_to=0.5) == {doubtful}


def test_archived_pairs_are_told_from_the_others(admin_client: Client) -> None:
    archived, other = rows.sft_pair(archived_at=datetime(2026, 5, 1, tzinfo=UTC)), rows.sft_pair()
    assert listed(admin_client, archive="in") == {archived}
    assert listed(admin_client, archive="out") == {other}
    assert listed(admin_client) == {archived, other}
    assert listed(admin_client, archive="anywhere") == set()
