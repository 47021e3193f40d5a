from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memory.importers.records import Skipped
from tests.memory.importers.reading import conversation, messages, read_json

ROOT = "00000000-0000-4000-8000-000000000000"


def said(name: str, sender: str, text: str = "", **fields: Any) -> dict[str, Any]:
    message = {"uuid": name, "sender": sender, "text": text, "created_at": "2026-02-14T10:04:22.000Z"}
    return {**message, "attachments": [], "files": [], **fields}


def export(*values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    record = {"uuid": "c1", "name": "A talk", "account": {"uuid": "me"}, "chat_messages": list(values)}
    return {**record, "created_at": "2026-02-14T10:04:00Z", "updated_at": "2026-02-14T11:00:00Z", **fields}


def test_without_parents_the_messages_stand_in_a_row(tmp_path: Path) -> None:
    found = read_json(tmp_path, [export(said("u", "human", "Two and two?"), said("a", "assistant", "Four."))])

    parsed = conversation(found)
    assert (parsed.source_system, parsed.external_id, parsed.title) == ("claude", "c1", "A talk")
    assert parsed.updated_at == datetime(2026, 2, 14, 11, 0, tzinfo=UTC)
    assert not parsed.names_active_branch
    assert [(m.external_id, m.parent_id, m.role, m.is_active_branch) for m in parsed.messages] == [
        ("u", None, "user", True),
        ("a", "u", "assistant", True),
    ]


def test_parents_and_the_current_leaf_make_a_tree(tmp_path: Path) -> None:
    found = read_json(
        tmp_path,
        [
            export(
                said("u", "human", "Two and two?", parent_message_uuid=ROOT),
                said("a1", "assistant", "Four.", parent_message_uuid="u"),
                said("a2", "assistant", "It is 4.", parent_message_uuid="u"),
                current_leaf_message_uuid="a1",
            )
        ],
    )

    by_id = messages(found)
    assert [(m.parent_id, m.branch_position, m.is_active_branch) for m in by_id.values()] == [
        (None, 0, True),
        ("u", 0, True),
        ("u", 1, False),
    ]


def test_text_blocks_win_over_the_text_field_and_thinking_is_set_apart(tmp_path: Path) -> None:
    blocks = [
        {"type": "thinking", "thinking": "two and two"},
        {"type": "tool_use", "name": "calc", "input": {"x": "2+2"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "4"}]},
        {"type": "text", "text": "Four."},
    ]
    by_id = messages(
        read_json(tmp_path, [export(said("a", "assistant", "This block is not supported. Four.", content=blocks))])
    )

    assert by_id["a"].content == "Four."
    assert (by_id["a#reasoning"].content, by_id["a#reasoning"].internal_generated) == ("two and two", True)


def test_an_empty_message_takes_its_text_from_what_was_pasted(tmp_path: Path) -> None:
    pasted = [{"file_name": "paste.txt", "extracted_content": "A long letter."}]
    by_id = messages(
        read_json(
            tmp_path,
            [
                export(
                    said("u", "human", "", content=[], attachments=pasted),
                    said("v", "human", "See above.", attachments=pasted),
                )
            ],
        )
    )

    assert (by_id["u"].content, by_id["v"].content) == ("A long letter.", "See above.")


def test_a_conversation_without_messages_is_named(tmp_path: Path) -> None:
    empty, _ = read_json(tmp_path, [export(), export(said("u", "human", "Hi"))])

    assert empty == Skipped("record 1", "chat_messages: no messages")


def test_lines_are_read_as_well_as_an_array(tmp_path: Path) -> None:
    record = export(said("u", "human", "Hi"))

    assert conversation(read_json(tmp_path, record)).messages == conversation(read_json(tmp_path, [record])).messages
