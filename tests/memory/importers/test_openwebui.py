from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory.importers.records import ParsedConversation, ParsedFeedback
from tests.memory.importers.reading import conversation, messages, read_json


def said(name: str, parent: str | None, role: str, content: Any = "", **fields: Any) -> dict[str, Any]:
    return {"id": name, "parentId": parent, "childrenIds": [], "role": role, "content": content, **fields}


def chat(*values: dict[str, Any], current: str | None = None) -> dict[str, Any]:
    history = {"currentId": current, "messages": {each["id"]: each for each in values}}
    return {"title": "A talk", "models": ["m"], "history": history}


def row(*values: dict[str, Any], current: str | None = None) -> dict[str, Any]:
    return {
        "id": "c1",
        "title": "A talk",
        "chat": chat(*values, current=current),
        "created_at": 1700000000,
        "updated_at": 1700000005,
    }


def test_a_chat_is_a_tree_with_seconds_and_milliseconds(tmp_path: Path) -> None:
    found = read_json(
        tmp_path,
        [
            row(
                said("u", None, "user", "Two and two?", timestamp=1700000000),
                said("a1", "u", "assistant", "Four.", timestamp=1700000005000, model="m", done=True),
                said("a2", "u", "assistant", "It is 4."),
                current="a2",
            )
        ],
    )

    by_id = messages(found)
    assert conversation(found).source_system == "openwebui"
    assert conversation(found).names_active_branch
    assert by_id["u"].created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert by_id["a1"].created_at == datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC)
    assert by_id["a1"].model_name == "m"
    assert [m.is_active_branch for m in by_id.values()] == [True, False, True]


def test_a_chat_without_its_row_is_read(tmp_path: Path) -> None:
    record = {"id": "c9", **chat(said("u", None, "user", "Hi"))}

    assert conversation(read_json(tmp_path, [record])).external_id == "c9"


def test_reasoning_leaves_the_answer_from_mark_up_and_from_output_alike(tmp_path: Path) -> None:
    marked = '<details type="reasoning" done="true"><summary>Thought</summary>\n> two and two\n</details>\nFour.'
    output = [
        {"type": "reasoning", "content": [{"type": "output_text", "text": "two and two"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Four."}]},
    ]
    by_id = messages(
        read_json(
            tmp_path,
            [
                row(
                    said("u", None, "user", "Two and two?"),
                    said("a", "u", "assistant", marked),
                    said("b", "u", "assistant", "", output=output),
                    said("c", "u", "assistant", marked, output=output),
                )
            ],
        )
    )

    for name in ("a", "b", "c"):
        assert by_id[name].content == "Four."
        assert by_id[f"{name}#reasoning"].content == "two and two"


def test_an_answer_that_failed_or_never_ended_is_none(tmp_path: Path) -> None:
    by_id = messages(
        read_json(
            tmp_path,
            [
                row(
                    said("u", None, "user", "Hi"),
                    said("a", "u", "assistant", "", error={"content": "overloaded"}),
                    said("b", "u", "assistant", "Hel", done=False),
                    said("v", "a", "user", "Hello?"),
                )
            ],
        )
    )

    assert list(by_id) == ["u", "v"]
    assert by_id["v"].parent_id == "u"


@pytest.mark.parametrize(("rating", "thumb"), [(1, 1), (-1, -1), ("1", 1), (0, None), (None, None)])
def test_a_thumb_on_the_message_is_its_rating(tmp_path: Path, rating: Any, thumb: int | None) -> None:
    answer = said("a", None, "assistant", "Hi", annotation={"rating": rating, "comment": ""})

    assert messages(read_json(tmp_path, [row(answer)]))["a"].rating == thumb


@pytest.mark.parametrize("rating", [1, "1"])
def test_feedback_brings_the_chat_of_its_snapshot_then_the_rating(tmp_path: Path, rating: Any) -> None:
    record = {
        "id": "f1",
        "type": "rating",
        "data": {"rating": rating, "model_id": "m", "sibling_model_ids": ["m2"]},
        "meta": {"arena": True, "chat_id": "c1", "message_id": "a"},
        "snapshot": {"chat": row(said("u", None, "user", "Hi"), said("a", "u", "assistant", "Hello"))},
    }

    first, second = read_json(tmp_path, [record])

    assert isinstance(first, ParsedConversation)
    assert second == ParsedFeedback("openwebui", "c1", "a", 1, where="record 1")


def test_feedback_without_a_snapshot_is_a_rating_alone(tmp_path: Path) -> None:
    record = {"data": {"rating": "-1"}, "meta": {"chat_id": "c1", "message_id": "a"}}

    assert read_json(tmp_path, [record]) == [ParsedFeedback("openwebui", "c1", "a", -1, where="record 1")]
