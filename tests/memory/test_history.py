"""States of pairs put on record before somebody changes them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from memory.history import differing_columns, keep_states, record
from memory.models import PreferencePair, SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db
MOMENT = datetime(2026, 5, 1, 3, 4, 5, 678901, tzinfo=UTC)


def reasons(pair: SftPair | PreferencePair) -> list[tuple[str, str]]:
    history = type(pair).history.filter(id=pair.pk).order_by("history_id")
    return list(history.values_list("history_type", "history_change_reason"))


def test_a_state_is_on_record_once() -> None:
    pair = rows.sft_pair(context=[{"role": "user", "content": "Grüße"}], metadata={"a": [1, None]}, loss=0.1)
    assert [keep_states(SftPair.objects.all()) for _ in range(2)] == [1, 0]
    assert reasons(pair) == [("+", "as first stored")]


def test_a_preference_is_on_record_once() -> None:
    pair = rows.preference_pair(archived_at=MOMENT)
    assert [keep_states(PreferencePair.objects.all()) for _ in range(2)] == [1, 0]
    assert reasons(pair) == [("+", "as first stored")]


@pytest.mark.parametrize(
    "change",
    [
        {"is_used": True, "used_timestamp": MOMENT, "training_epoch": 0},
        {"archived_at": MOMENT},
        {"metadata": {"merged": {"sft": [1]}}},
        {"confidence": 0.5},
        {"response": "pixel."},
        {"loss": 0.0},
    ],
)
def test_a_state_that_nobody_recorded_is_found(change: dict[str, Any]) -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    keep_states(SftPair.objects.all())
    SftPair.objects.filter(pk=pair.pk).update(**change)
    assert [keep_states(SftPair.objects.all()) for _ in range(2)] == [1, 0]
    assert reasons(pair) == [("+", "as first stored"), ("~", "as found")]
    assert reasons(other) == [("+", "as first stored")]
    newest, first = pair.history.all()
    assert set(differing_columns(first, newest)) == change.keys()
    pair.refresh_from_db()
    assert differing_columns(newest, pair) == []


def test_the_newest_record_is_the_one_that_counts() -> None:
    pair = rows.sft_pair()
    keep_states(SftPair.objects.all())
    SftPair.objects.update(confidence=0.5)
    record(SftPair.objects.all(), kind="~", user=None, reason="edited")
    SftPair.objects.update(confidence=1.0)
    assert keep_states(SftPair.objects.all()) == 1
    assert reasons(pair)[-1] == ("~", "as found")


def test_a_record_that_saving_a_form_made_counts_as_well() -> None:
    pair = rows.sft_pair(context=[{"role": "user", "content": "Grüße"}], created_at=MOMENT)
    pair.save()
    assert keep_states(SftPair.objects.all()) == 0
