from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory.importers.records import ParsedFeedback, Skipped
from tests.memory.importers.reading import conversation, messages, read_json


def node(name: str, parent: str | None, role: str | None, text: Any = "", **message: Any) -> dict[str, Any]:
    if role is None:
        return {"id": name, "parent": parent, "children": [], "message": None}
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    defaults = {"weight": 1.0, "recipient": "all", "channel": None, "metadata": {}, "create_time": 1756000001.5}
    body = {"id": name, "author": {"role": role}, "content": content, **defaults, **message}
    return {"id": name, "parent": parent, "children": [], "message": body}


def export(*nodes: dict[str, Any], current: str | None = None, **fields: Any) -> dict[str, Any]:
    mapping = {each["id"]: each for each in nodes}
    for each in nodes:
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(each["id"])
    record = {"title": "A talk", "create_time": 1756000000.0, "update_time": None, "mapping": mapping}
    return {**record, "current_node": current, "conversation_id": "c1", "id": "c1", **fields}


def test_branches_are_kept_as_siblings_and_the_current_node_names_the_active_one(tmp_path: Path) -> None:
    record = export(
        node("root", None, None),
        node("u", "root", "user", "Two and two?"),
        node("a1", "u", "assistant", "Four.", metadata={"model_slug": "gpt-x"}),
        node("a2", "u", "assistant", "It is 4."),
        current="a1",
        update_time=1756000400.0,
    )

    found = read_json(tmp_path, [record])

    parsed = conversation(found)
    assert (parsed.source_system, parsed.external_id, parsed.title) == ("chatgpt", "c1", "A talk")
    assert parsed.started_at == datetime(2025, 8, 24, 1, 46, 40, tzinfo=UTC)
    assert parsed.training_allowed
    assert parsed.names_active_branch
    by_id = messages(found)
    assert [(m.external_id, m.parent_id, m.branch_position, m.is_active_branch) for m in parsed.messages] == [
        ("u", None, 0, True),
        ("a1", "u", 0, True),
        ("a2", "u", 1, False),
    ]
    assert by_id["a1"].model_name == "gpt-x"
    assert by_id["a1"].created_at == datetime(2025, 8, 24, 1, 46, 41, 500_000, tzinfo=UTC)


def test_siblings_stand_in_the_order_of_their_parents_children(tmp_path: Path) -> None:
    record = export(node("u", None, "user", "?"), node("a2", "u", "assistant", "2"), node("a1", "u", "assistant", "1"))
    record["mapping"]["u"]["children"] = ["a1", "a2"]

    by_id = messages(read_json(tmp_path, [record]))

    assert (by_id["a1"].branch_position, by_id["a2"].branch_position) == (0, 1)


def test_hidden_nodes_stay_in_the_chain_as_introspection(tmp_path: Path) -> None:
    context = {"content_type": "user_editable_context", "user_profile": "I bake.", "user_instructions": "Be short."}
    hidden = {"is_visually_hidden_from_conversation": True}
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Sums", "content": "two and two"}]}
    recap = {"content_type": "reasoning_recap", "content": "Thought for 2 seconds"}
    by_id = messages(
        read_json(
            tmp_path,
            [
                export(
                    node("ctx", None, "user", context, weight=0, metadata=hidden),
                    node("u", "ctx", "user", "Two and two?"),
                    node("h", "u", "user", "hidden words", metadata=hidden),
                    node("t", "h", "assistant", thoughts),
                    node("w", "t", "assistant", "weightless", weight=0),
                    node("n", "w", "assistant", "a note", channel="commentary"),
                    node("r", "n", "assistant", recap),
                    node("a", "r", "assistant", "Four.", channel="final"),
                    current="a",
                )
            ],
        )
    )

    seen = {name: (m.role, m.kind, m.internal_generated, m.content) for name, m in by_id.items()}
    assert seen == {
        "ctx": ("system", "introspection", False, "I bake.\n\nBe short."),
        "u": ("user", "dialogue", False, "Two and two?"),
        "h": ("user", "introspection", False, "hidden words"),
        "t": ("assistant", "introspection", True, "Sums\ntwo and two"),
        "w": ("assistant", "introspection", True, "weightless"),
        "n": ("assistant", "introspection", True, "a note"),
        "r": ("assistant", "introspection", False, "Thought for 2 seconds"),
        "a": ("assistant", "dialogue", False, "Four."),
    }
    assert by_id["a"].parent_id == "r"


def test_tool_calls_are_no_answers_even_when_addressed_to_all(tmp_path: Path) -> None:
    by_id = messages(
        read_json(
            tmp_path,
            [
                export(
                    node("u", None, "user", "Two and two?"),
                    node("call", "u", "assistant", "2+2", recipient="python"),
                    node("code", "call", "assistant", {"content_type": "code", "language": "python", "text": "2+2"}),
                    node("out", "code", "tool", {"content_type": "execution_output", "text": "4"}),
                )
            ],
        )
    )

    assert [(m.role, m.kind, m.content) for m in by_id.values()][1:] == [
        ("tool", "dialogue", "2+2"),
        ("tool", "dialogue", "2+2"),
        ("tool", "dialogue", "4"),
    ]


def test_a_think_block_in_an_answer_is_cut_out_and_one_in_a_question_is_not(tmp_path: Path) -> None:
    by_id = messages(
        read_json(
            tmp_path,
            [
                export(
                    node("u", None, "user", "What is <think>this</think>?"),
                    node("a", "u", "assistant", "<think>a tag</think>A tag."),
                )
            ],
        )
    )

    assert by_id["u"].content == "What is <think>this</think>?"
    assert by_id["a"].content == "A tag."
    assert (by_id["a#reasoning"].content, by_id["a#reasoning"].parent_id) == ("a tag", "u")


def test_parts_that_are_no_text_are_left_out_and_null_parts_are_empty(tmp_path: Path) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    parts = {"content_type": "multimodal_text", "parts": [picture, "What is this?"]}
    by_id = messages(
        read_json(
            tmp_path,
            [
                export(
                    node("u", None, "user", parts),
                    node("a", "u", "assistant", {"content_type": "text", "parts": None}),
                )
            ],
        )
    )

    assert (by_id["u"].content, by_id["a"].content) == ("What is this?", "")


def test_a_conversation_not_to_be_remembered_is_no_material_for_training(tmp_path: Path) -> None:
    record = export(node("u", None, "user", "Forget this."), is_do_not_remember=True)

    assert conversation(read_json(tmp_path, [record])).training_allowed is False


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"title": "no mapping", "current_node": "x", "conversation_id": "b"}, "mapping: got None, allowed an object"),
        (export(conversation_id="b"), "mapping: no messages"),
        (
            export(node("a", "b", "user", "x"), node("b", "a", "assistant", "y")),
            "parent: 2 of 2 messages lie in a circle of parents",
        ),
        (export(node("a", "gone", "user", "x")), "parent: 'gone' of message 'a' does not exist"),
        (export(node("a", None, "user", {"parts": 7})), "parts: got 7, allowed text or a list of parts"),
        (export(node("a", None, "user", "x", create_time="soon")), "create_time: got 'soon', allowed seconds or"),
        ([1], "record: got [1], allowed an object"),
    ],
)
def test_a_bad_conversation_is_named_and_costs_no_other(tmp_path: Path, broken: Any, reason: str) -> None:
    skipped, good = read_json(tmp_path, [broken, export(node("u", None, "user", "Hi"))])

    assert isinstance(skipped, Skipped)
    assert skipped.where == "record 1"
    assert skipped.reason.startswith(reason)
    assert conversation([good]).external_id == "c1"


def test_feedback_is_read_in_both_spellings(tmp_path: Path) -> None:
    found = read_json(
        tmp_path,
        [
            {"id": "f1", "conversation_id": "c1", "message_id": "a1", "rating": "thumbsUp", "create_time": None},
            {"id": "a2", "conversation_id": "c1", "rating": "thumbs_down"},
        ],
    )

    assert found == [
        ParsedFeedback("chatgpt", "c1", "a1", 1, where="record 1"),
        ParsedFeedback("chatgpt", "c1", "a2", -1, where="record 2"),
    ]
