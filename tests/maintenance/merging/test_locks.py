"""The night locks in the order in which people do: neither ever waits for what the other has while holding the rest.

On PostgreSQL alone: SQLite lets one of them write at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction
from django.db.models import Model, QuerySet

from maintenance.models import Proposal
from memory.models import SftPair
from tests.maintenance.merging.stored import memory, merge_night, standing

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]
_LONGEST_WAIT_SECONDS = 60


@contextmanager
def night_that_waits_for(rows: QuerySet[Model]) -> Iterator[None]:
    """Hold `rows` as a person who decides, let a night merge until it waits for them, and see it end afterwards."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert list(rows.select_for_update())
            night = pool.submit(_merge)
            end = time.monotonic() + _LONGEST_WAIT_SECONDS
            while not _somebody_waits():
                assert time.monotonic() < end, "the night never came to wait"
                assert not night.done(), night.exception()
                time.sleep(0.02)
            yield
        night.result(timeout=_LONGEST_WAIT_SECONDS)


def _merge() -> None:
    try:
        merge_night(days=1)
    finally:
        connections.close_all()


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


def test_pairs_that_go_along_are_locked_in_one_order_with_those_that_are_merged() -> None:
    follower, member, survivor = (memory(text, day=day) for day, text in enumerate(["good", "so good", "well, good"]))
    SftPair.objects.filter(pk=follower.pk).update(merged_into=member)
    with night_that_waits_for(SftPair.objects.filter(pk=follower.pk)):
        free = SftPair.objects.filter(pk__in=[member.pk, survivor.pk]).select_for_update(nowait=True)
        assert len(free) == 2
    assert standing(follower, member, survivor) == [2, 2, None]


def test_proposals_are_locked_before_the_pairs_that_they_name() -> None:
    older, newer = memory("It is Rex."), memory("It is Max.", 10, day=1)
    merge_night()
    again = memory("So it is Rex.", 1, day=2)
    with night_that_waits_for(Proposal.objects.all()):
        assert standing(older, again) == [1, None]
        free = SftPair.objects.filter(pk__in=[older.pk, newer.pk, again.pk]).select_for_update(nowait=True)
        assert len(free) == 3
    assert {*Proposal.objects.values_list("sft_pair", "other_sft_pair")} == {(again.pk, newer.pk)}
