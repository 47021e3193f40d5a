import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from memory.importers import fields
from memory.importers.records import BadRecordError

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1714564800,
        1714564800.0,
        Decimal("1714564800.000"),
        1714564800000,
        1714564800000000,
        "1714564800",
        "2024-05-01T12:00:00Z",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T12:00:00.000",
    ],
)
def test_a_time_is_read_in_every_unit_and_becomes_utc(value: Any) -> None:
    assert fields.moment({"at": value}, "at") == NOON


def test_a_time_without_a_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert fields.moment({"at": "2024-05-01T12:00:00"}, "at") == NOON
    finally:
        monkeypatch.undo()
        time.tzset()


def test_fractions_of_a_second_are_kept() -> None:
    assert fields.moment({"at": Decimal("1714564800.25")}, "at") == NOON.replace(microsecond=250_000)


@pytest.mark.parametrize("value", [None, "", "0001-01-01T00:00:00Z", "0001-01-01"])
def test_a_missing_time_is_none_and_the_next_name_is_tried(value: Any) -> None:
    assert fields.moment({"at": value}, "at") is None
    assert fields.moment({"at": value, "then": 1714564800}, "at", "then") == NOON


@pytest.mark.parametrize(
    "value", ["yesterday", True, -5, float("nan"), float("inf"), [1], "9999-12-31T23:59:59Z", "1969-12-31"]
)
def test_what_is_no_time_is_a_bad_record_that_names_the_field(value: Any) -> None:
    with pytest.raises(BadRecordError, match=r"^at: got .*, allowed seconds or milliseconds since 1970, or ISO 8601$"):
        fields.moment({"at": value}, "at")


@pytest.mark.parametrize(
    ("value", "thumb"),
    [
        ("thumbsUp", 1),
        ("thumbs_up", 1),
        ("thumbs_down", -1),
        ("thumbsDown", -1),
        (1, 1),
        (-1, -1),
        ("1", 1),
        ("+1", 1),
        ("-1", -1),
        (None, None),
        ("", None),
    ],
)
def test_a_thumb_is_read_in_every_spelling(value: Any, thumb: int | None) -> None:
    assert fields.rating({"rating": value}, "rating") == thumb


@pytest.mark.parametrize("value", ["splendid", 2, 0, True, []])
def test_what_is_no_thumb_is_a_bad_record(value: Any) -> None:
    with pytest.raises(BadRecordError, match=r"^rating: got .*, allowed 1, -1, thumbs_up or thumbs_down$"):
        fields.rating({"rating": value}, "rating")


def test_text_that_no_database_takes_is_made_storable() -> None:
    assert fields.storable("a\x00b") == "ab"
    assert fields.storable("half \ud83d pair") == "half \ufffd pair"
    assert fields.storable("whole \ud83d\ude00 pair") == "whole 😀 pair"
    assert fields.storable("plain 😀") == "plain 😀"


def test_metadata_becomes_plain_json() -> None:
    value = {"a\x00": [Decimal("1.5"), float("nan"), {"b": "x\x00"}], "n": 3, "t": True}

    assert fields.plain(value) == {"a": [1.5, None, {"b": "x"}], "n": 3, "t": True}


def test_an_id_that_is_too_long_is_replaced_by_its_hash() -> None:
    assert fields.bounded_id("x" * 255) == "x" * 255
    long = fields.bounded_id("x" * 256)
    assert len(long) <= 255
    assert long != fields.bounded_id("x" * 257)


def test_an_id_may_be_a_whole_number_but_no_truth_value() -> None:
    assert fields.identifier({"id": 7}, "id") == "7"
    with pytest.raises(BadRecordError, match=r"^id: got True, allowed text or a whole number$"):
        fields.identifier({"id": True}, "id")


@pytest.mark.parametrize("value", [1.01, -0.01])
def test_a_reward_outside_the_unit_interval_is_a_bad_record(value: float) -> None:
    with pytest.raises(BadRecordError, match=rf"^reward_intensity: got {value}, allowed 0 to 1$"):
        fields.unit_interval({"reward_intensity": value}, "reward_intensity")


def test_a_negative_loss_is_a_bad_record() -> None:
    assert fields.loss({"loss": 0}) == 0.0
    with pytest.raises(BadRecordError, match=r"^loss: got -0.5, allowed 0 or more$"):
        fields.loss({"loss": -0.5})
