"""The counts of the pools are those of the database, and their links lead to the same rows."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from dualchannel_site.desk.dashboard import pools
from dualchannel_site.desk.dashboard.links import list_of_age, list_of_reward
from dualchannel_site.desk.dashboard.pools import AnyPair, age_bands, pool_counts, reward_bins
from memory.models import PreferencePair, SftPair
from tests.memory import rows

# Days before today, on both sides of every edge of the bands.
DAYS = (0, 6, 7, 29, 30, 89, 90, 179, 180, 364, 365, 1000)
UNUSED_BY_AGE = (2, 2, 2, 2, 2, 2)


def noon(days_ago: int) -> datetime:
    return timezone.localtime().replace(hour=12) - timedelta(days=days_ago)


def use() -> dict[str, object]:
    return {"is_used": True, "used_timestamp": timezone.now(), "training_epoch": 0}


def test_the_bands_cover_every_day_once() -> None:
    bands = age_bands(date(2026, 3, 1))
    assert (bands[0].begin, bands[0].end) == (date(2026, 2, 23), None)
    assert bands[-1].begin is None
    for newer, older in pairwise(bands):
        assert newer.begin is not None
        assert older.end == newer.begin - timedelta(days=1)


@given(st.floats(0, 1))
def test_every_reward_lies_in_one_bin(reward: float) -> None:
    assert sum(found.low <= reward <= found.high for found in reward_bins()) == 1


@pytest.mark.django_db
def test_pairs_are_counted_by_use_and_age() -> None:
    for days in DAYS:
        rows.sft_pair(created_at=noon(days))
    rows.sft_pair(created_at=noon(40), **use())
    rows.preference_pair(created_at=noon(400), **use())
    memory = pool_counts(SftPair, today=timezone.localdate())
    assert memory.unused_by_age == UNUSED_BY_AGE
    assert memory.used_by_age == (0, 0, 1, 0, 0, 0)
    assert (memory.unused, memory.used) == (12, 1)
    reward = pool_counts(PreferencePair, today=timezone.localdate())
    assert (reward.unused, reward.used_by_age) == (0, (0, 0, 0, 0, 0, 1))


@pytest.mark.django_db
def test_a_pair_of_tomorrow_counts_among_the_newest() -> None:
    rows.sft_pair(created_at=noon(-1))
    assert pool_counts(SftPair, today=timezone.localdate()).unused_by_age[0] == 1


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_the_list_behind_a_band_shows_exactly_its_pairs(zone: str, admin_client: Client, settings: Settings) -> None:
    settings.TIME_ZONE = zone
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    for days in DAYS:
        rows.sft_pair(created_at=midnight - timedelta(days=days))
        rows.sft_pair(created_at=midnight - timedelta(days=days, microseconds=-1), **use())
    today = timezone.localdate()
    counts = pool_counts(SftPair, today=today)
    shown = [admin_client.get(list_of_age(SftPair, band)).context["cl"].result_count for band in age_bands(today)]
    assert shown == [a + b for a, b in zip(counts.unused_by_age, counts.used_by_age, strict=True)]
    assert sum(shown) == 2 * len(DAYS)


@pytest.mark.django_db
@pytest.mark.parametrize("model", [SftPair, PreferencePair])
def test_the_list_behind_a_reward_shows_exactly_its_pairs(model: AnyPair, admin_client: Client) -> None:
    for reward in (0.0, 0.05, 0.1, 0.3, 0.3, 0.30000000000000004, 0.95, 1.0):
        if model is SftPair:
            rows.sft_pair(reward_intensity=reward)
        else:
            rows.preference_pair(margin=reward, chosen=f"yes {PreferencePair.objects.count()}")
    counts = pool_counts(model, today=timezone.localdate())
    assert counts.rewards == (2, 1, 0, 3, 0, 0, 0, 0, 0, 2)
    for number, found in enumerate(reward_bins()):
        shown = admin_client.get(list_of_reward(model, found)).context["cl"].result_count
        assert shown == counts.rewards[number]


@pytest.mark.django_db
def test_of_a_large_pool_a_sample_from_end_to_end_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "SAMPLE", 10)
    for number in range(40):
        rows.sft_pair(reward_intensity=0.05 if number < 20 else 0.95)
    counts = pool_counts(SftPair, today=timezone.localdate())
    assert 10 <= counts.sampled <= 20
    assert abs(counts.rewards[0] - counts.rewards[9]) <= 1


@pytest.mark.django_db
def test_an_empty_pool_is_all_zeros() -> None:
    counts = pool_counts(SftPair, today=timezone.localdate())
    assert (counts.unused, counts.used, counts.sampled) == (0, 0, 0)
    assert len(counts.rewards) == len(reward_bins())


@pytest.mark.django_db
def test_a_channel_takes_four_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for _ in range(3):
        rows.sft_pair()
    with django_assert_num_queries(4):
        pool_counts(SftPair, today=timezone.localdate())


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan in SQLite's words")
def test_the_counts_come_from_an_index_alone() -> None:
    rows.sft_pair()
    with CaptureQueriesContext(connection) as captured:
        pool_counts(SftPair, today=timezone.localdate())
    (counting,) = [query["sql"] for query in captured if "UNION ALL" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {counting}")
        plan = [str(row[-1]) for row in cursor.fetchall()]
    scans = [line for line in plan if "memory_sftpair" in line]
    assert len(scans) == 2 * len(age_bands(timezone.localdate()))
    # Each band is one stretch of the index, which begins and ends at its days.
    assert all("USING COVERING INDEX sftpair_used_created (is_used=? AND created_at" in line for line in scans)
    assert not any("TEMP B-TREE" in line for line in plan)
