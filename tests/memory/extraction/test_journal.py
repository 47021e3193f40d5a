"""Whoever writes down what an extraction makes is told of that, and of nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import models

from memory.extraction.journal import insert_journaled, update_journaled
from memory.models import SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db


class Notes:
    """A journal that remembers."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.updates: list[Sequence[Any]] = []

    def created(self, model: type[models.Model], keys: Sequence[int]) -> None:
        assert model is SftPair
        self.made += keys

    def update(self, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.updates += rows


def test_rows_that_others_store_at_the_same_time_are_not_told() -> None:
    notes = Notes()
    old = rows.sft_pair(category="ours")
    ours: list[SftPair] = []

    def insert() -> int:
        rows.sft_pair(category="theirs")
        ours.append(rows.sft_pair(category="ours"))
        return 1

    made = insert_journaled(insert, SftPair, lambda: {"category": "ours"}, journal=notes, using="default")

    assert made == 1
    assert notes.made == [ours[0].pk]
    assert old.pk not in notes.made


def test_nothing_new_is_not_looked_for() -> None:
    def refuse() -> dict[str, Any]:
        raise AssertionError("asked for")

    assert insert_journaled(lambda: 0, SftPair, refuse, journal=Notes(), using="default") == 0
    assert insert_journaled(lambda: 3, SftPair, refuse, journal=None, using="default") == 3


def test_an_update_goes_through_the_journal_where_there_is_one() -> None:
    notes, pair = Notes(), rows.sft_pair()
    change = [(pair.pk, {"a": 1})]

    update_journaled(SftPair, ["metadata"], change, journal=notes, using="default")
    assert notes.updates == change
    assert SftPair.objects.get().metadata == {}

    update_journaled(SftPair, ["metadata"], change, journal=None, using="default")
    assert SftPair.objects.get().metadata == {"a": 1}
