from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory.importers.records import Skipped
from tests.memory.importers.reading import conversation, messages, read_json, read_path


def export(*values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "participant": "Mara", "messages": list(values), **fields}


def test_every_field_of_the_format_is_read(tmp_path: Path) -> None:
    found = read_json(
        tmp_path,
        export(
            {"id": "m1", "parent": None, "role": "user", "content": "Two and two?"},
            {
                "id": "m2",
                "parent": "m1",
                "role": "assistant",
                "content": "Four.",
                "created_at": "2026-01-02T03:04:05+01:00",
                "active": True,
                "rating": 1,
                "reward_intensity": 0.9,
                "loss": 1.2,
                "model": "tiny",
                "original_content": "<think>hm</think>Three.",
            },
            {"id": "m3", "role": "assistant", "content": "sums", "kind": "introspection", "internal_generated": True},
            title="Sums",
            source_system="kitchen",
            training_allowed=False,
            started_at="2026-01-02T00:00:00Z",
            updated_at=1767322800,
            metadata={"room": "kitchen", "share": 0.5},
        ),
    )

    parsed = conversation(found)
    assert (parsed.source_system, parsed.external_id, parsed.title, parsed.participant) == (
        "kitchen",
        "c1",
        "Sums",
        "Mara",
    )
    assert parsed.training_allowed is False
    assert parsed.metadata == {"room": "kitchen", "share": 0.5}
    assert parsed.updated_at == datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
    answer, thought = parsed.messages[1:]
    assert answer.created_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert (answer.rating, answer.reward_intensity, answer.loss, answer.model_name) == (1, 0.9, 1.2, "tiny")
    assert answer.original_content == "Three."
    assert (thought.parent_id, thought.kind, thought.internal_generated) == ("m2", "introspection", True)


def test_ids_and_parents_may_be_left_out(tmp_path: Path) -> None:
    parsed = conversation(
        read_json(tmp_path, export({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}))
    )

    assert [(m.external_id, m.parent_id) for m in parsed.messages] == [("1", None), ("2", "1")]
    assert parsed.source_system == "native"
    assert parsed.training_allowed is True
    assert not parsed.names_active_branch


def test_what_a_message_leaves_open_about_its_branch_it_takes_from_its_parent(tmp_path: Path) -> None:
    by_id = messages(
        read_json(
            tmp_path,
            export(
                {"id": "v", "parent": "a1", "role": "user", "content": "?"},
                {"id": "u", "parent": None, "role": "user", "content": "?"},
                {"id": "a1", "parent": "u", "role": "assistant", "content": "1", "active": False},
                {"id": "a2", "parent": "u", "role": "assistant", "content": "2"},
            ),
        )
    )

    assert {name: m.is_active_branch for name, m in by_id.items()} == {"u": True, "a1": False, "v": False, "a2": True}


def test_without_any_mark_the_last_draft_is_active(tmp_path: Path) -> None:
    by_id = messages(
        read_json(
            tmp_path,
            export(
                {"id": "u", "parent": None, "role": "user", "content": "?"},
                {"id": "a1", "parent": "u", "role": "assistant", "content": "1"},
                {"id": "a2", "parent": "u", "role": "assistant", "content": "2"},
            ),
        )
    )

    assert [m.is_active_branch for m in by_id.values()] == [True, False, True]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "robot", "content": "x"}, "role: got 'robot', allowed system, developer, user"),
        ({"role": "user", "content": 5}, "content: got 5, allowed text or a list of parts"),
        ({"role": "user", "content": "x", "kind": "dream"}, "kind: got 'dream', allowed dialogue, introspection"),
        ({"role": "user", "content": "x", "rating": 3}, "rating: got 3, allowed 1, -1"),
        ({"role": "user", "content": "x", "reward_intensity": 1.5}, "reward_intensity: got 1.5, allowed 0 to 1"),
        ({"role": "user", "content": "x", "loss": -1}, "loss: got -1.0, allowed 0 or more"),
        ({"role": "user", "content": "x", "parent": "gone"}, "parent: 'gone' of message '1' does not exist"),
        ({"role": "user", "content": "x", "active": "yes"}, "active: got 'yes', allowed true or false"),
        ("Hi", "messages: got 'Hi', allowed an object"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_is_allowed(tmp_path: Path, message: Any, reason: str) -> None:
    [skipped] = read_json(tmp_path, export(message), format="native")

    assert isinstance(skipped, Skipped)
    assert skipped.where == "line 1"
    assert skipped.reason.startswith(reason)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (export(), "messages: no messages"),
        ({"id": "c1", "participant": "Mara"}, "messages: got None, allowed a list"),
        ({"participant": "M", "messages": [{"role": "user", "content": "x"}]}, "id: missing"),
        (
            export({"role": "user", "content": "x"}, source_system="s" * 33),
            "source_system: got 33 characters, allowed 32 or fewer",
        ),
    ],
)
def test_a_wrong_conversation_is_named(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    assert read_json(tmp_path, record, format="native") == [Skipped("line 1", reason)]


def test_the_demo_that_ships_is_whole() -> None:
    path = Path(__file__).parents[3] / "memory" / "demo" / "conversations.jsonl"

    found = read_path(path)

    assert len(found) >= 60
    assert {type(each).__name__ for each in found} == {"ParsedConversation"}
