"""Rows go once nobody can need them, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from maintenance.housekeeping import expired_rows
from maintenance.housekeeping.expired_rows import delete_ended_sessions, delete_old_changes, delete_old_histories
from maintenance.models import MaintenanceRun, RowChange
from memory.models import PreferencePair, SftPair
from tests.maintenance import nights
from tests.training.rows import preference_pairs, sft_pairs

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)


def changes(run: MaintenanceRun, count: int) -> None:
    RowChange.objects.bulk_create(
        RowChange(run=run, step="merge", table="memory.sftpair", row_id=number, after={}) for number in range(count)
    )


def test_the_journal_goes_with_the_age_of_its_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_rows, "ROWS_PER_TRANSACTION", 2)
    old = nights.run(started_at=NOW - timedelta(days=10, seconds=1))
    kept = nights.run(started_at=NOW - timedelta(days=10))
    changes(old, 5)
    changes(kept, 3)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert delete_old_changes(keep_days=10, now=NOW, using="default") == 5
    assert sum(query["sql"].startswith("DELETE") for query in queries) == 3
    assert set(RowChange.objects.values_list("run", flat=True)) == {kept.pk}
    assert MaintenanceRun.objects.count() == 2
    assert delete_old_changes(keep_days=10, now=NOW, using="default") == 0


def deleted(pair: SftPair | PreferencePair, *, days_ago: float) -> int:
    """Delete a pair as a person does in the admin; return its key."""
    key = int(pair.pk)
    pair.save()
    pair.delete()
    pair.history.model.objects.filter(id=key).update(history_date=NOW - timedelta(days=days_ago))
    return key


@pytest.mark.parametrize(
    ("model", "make"), [(SftPair, sft_pairs), (PreferencePair, preference_pairs)], ids=["memory", "preference"]
)
def test_the_history_of_a_deleted_pair_goes_some_time_after_it(
    model: type[SftPair], make: Callable[[int], list[SftPair]]
) -> None:
    old, recent, present, exported = make(4)
    gone, kept = deleted(old, days_ago=10.1), deleted(recent, days_ago=9.9)
    for pair in (present, exported):
        pair.save()
    # As an export takes a pair away: without a word in the history.
    exported_key = exported.pk
    model.objects.filter(pk=exported.pk)._raw_delete("default")
    model.history.update(history_date=NOW - timedelta(days=300))
    model.history.filter(id=kept).update(history_date=NOW - timedelta(days=9.9))
    assert delete_old_histories(keep_days=10, now=NOW, using="default") == 2
    assert set(model.history.values_list("id", flat=True)) == {kept, present.pk, exported_key}
    assert gone not in model.history.values_list("id", flat=True)


def test_the_history_of_a_pair_that_came_back_stays() -> None:
    (pair,) = sft_pairs(1)
    key = deleted(pair, days_ago=100)
    pair.pk = key
    pair.save(force_insert=True)
    assert delete_old_histories(keep_days=10, now=NOW, using="default") == 0


def test_many_histories_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_rows, "ROWS_PER_TRANSACTION", 1)
    for pair in sft_pairs(3):
        deleted(pair, days_ago=11)
    with CaptureQueriesContext(connection) as queries:
        assert delete_old_histories(keep_days=10, now=NOW, using="default") == 6
    assert not SftPair.history.exists()
    # One for each channel.
    assert sum(query["sql"].startswith("SELECT DISTINCT") for query in queries) == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's plans")
def test_the_histories_of_pairs_that_are_there_are_not_read() -> None:
    with CaptureQueriesContext(connection) as queries:
        delete_old_histories(keep_days=10, now=NOW, using="default")
    for query in queries:
        with connection.cursor() as cursor:
            plan = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}").fetchall()]
        scans = [line for line in plan if line.startswith("SCAN memory_historical")]
        assert scans
        assert all("USING COVERING INDEX" in line for line in scans)


def test_sessions_go_once_they_have_ended() -> None:
    for name, days in (("ended", -1), ("running", 1)):
        Session.objects.create(session_key=name, session_data="", expire_date=NOW + timedelta(days=days))
    assert delete_ended_sessions(now=NOW, using="default") == 1
    assert list(Session.objects.values_list("session_key", flat=True)) == ["running"]
