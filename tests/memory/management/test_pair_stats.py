"""The command `pair_stats`."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.memory import rows

pytestmark = pytest.mark.django_db


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("pair_stats", *arguments, stdout=out)
    return out.getvalue()


def test_json_is_one_object_with_both_channels_and_the_replay_buffer() -> None:
    rows.sft_pair(created_at=timezone.now() - timedelta(days=2))
    found = json.loads(run_command("--json"))

    assert set(found) == {"sft", "preference", "replay"}
    assert set(found["sft"]) == {"total", "used", "unused", "by_source", "by_review_status", "age_days"}
    assert found["sft"]["age_days"]["median"] == pytest.approx(2, abs=0.01)
    assert found["preference"]["age_days"] is None


def test_the_summary_tells_the_same_in_words() -> None:
    rows.sft_pair(created_at=timezone.now() - timedelta(days=2))

    assert run_command().splitlines() == [
        "memory pairs: 1, of which 0 used and 1 unused",
        "  by source: 1 conversation",
        "  by review status: 1 pending",
        "  age in days: 2.0 to 2.0, median 2.0",
        "preference pairs: 0, of which 0 used and 0 unused",
        "replay entries: 0",
    ]
