"""A line of an archive file says what it is, and what it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maintenance.archive.records import SFT, Record, parse_record, read_records
from memory.models import SftPair
from tests.maintenance.archive import stock
from tests.memory import rows

pytestmark = pytest.mark.django_db


def a_line(**changes: Any) -> str:
    content = json.loads(a_record().as_line())
    return json.dumps({**content, **changes})


def a_record() -> Record:
    rows.sft_pair(archived_at=stock.LONG_AGO)
    (found,) = read_records(SFT, [SftPair.objects.get().pk], among=SftPair.objects.all(), using="default")
    return found


def test_a_line_and_its_record_are_the_same() -> None:
    found = a_record()
    assert parse_record(found.as_line()) == found
    assert found.as_line().isascii()
    assert "\n" not in found.as_line()
    assert found.pair["archived_at"] == "2025-04-27T03:00:00+00:00"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel": "rumour"}, "channel: got rumour, allowed sft or preference"),
        ({"more": 1}, "allowed an object with channel, embeddings, history, pair, proposals, uses"),
        ({"pair": 3}, "memory.sftpair: got 3, allowed an object"),
        ({"pair": {"id": 1, "mood": "good"}}, "memory.sftpair: got a column mood, allowed are id, conversation_id, "),
        ({"pair": {"id": 1}}, "memory.sftpair: got no column content_hash, which has no default"),
        ({"uses": [{"id": 1}]}, "training.pairuse: got no column run_id, which has no default"),
    ],
)
def test_a_line_that_does_not_fit_says_why(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_record(a_line(**change))
    assert message in str(refused.value)


@pytest.mark.parametrize("line", ["", "{", "3", "[]", "{}"])
def test_what_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(line)


def test_a_column_that_came_since_takes_its_default() -> None:
    content = json.loads(a_line())
    for column in ("confidence", "loss", "metadata"):
        del content["pair"][column]
    pair = parse_record(json.dumps(content)).pair
    assert (pair["confidence"], pair["loss"], pair["metadata"]) == (1.0, None, {})
