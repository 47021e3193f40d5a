from pathlib import Path
from typing import Any

from tests.memory.importers.reading import conversation, messages, read_json

ROOT = "00000000-0000-0000-0000-000000000000"


def said(name: str, *children: dict[str, Any], user: bool = False, text: str = "", **fields: Any) -> dict[str, Any]:
    message = {"messageId": name, "isCreatedByUser": user, "sender": "user", "text": text, "error": False}
    return {**message, "unfinished": False, "children": list(children), **fields}


def export(**fields: Any) -> dict[str, Any]:
    return {
        "conversationId": "c1",
        "title": "A talk",
        "exportAt": "16:33:32 GMT+0200",
        "options": {"model": "m"},
        **fields,
    }


def test_nested_children_make_the_tree_and_the_sender_is_only_a_name(tmp_path: Path) -> None:
    tree = [
        said(
            "u",
            said("a1", text="Four.", createdAt="2024-04-09T14:32:05.230Z", model="m"),
            said("a2", text="It is 4."),
            user=True,
            text="Two and two?",
        )
    ]

    found = read_json(tmp_path, export(messagesTree=tree, recursive=True))

    assert (conversation(found).source_system, conversation(found).external_id) == ("librechat", "c1")
    assert [(m.external_id, m.parent_id, m.role, m.branch_position) for m in conversation(found).messages] == [
        ("u", None, "user", 0),
        ("a1", "u", "assistant", 0),
        ("a2", "u", "assistant", 1),
    ]


def test_flat_messages_name_their_parents(tmp_path: Path) -> None:
    flat = [
        said("u", user=True, text="Hi", parentMessageId=ROOT),
        said("a", text="Hello", parentMessageId="u"),
    ]

    by_id = messages(read_json(tmp_path, export(messages=flat, recursive=False)))

    assert (by_id["u"].parent_id, by_id["a"].parent_id) == (None, "u")


def test_failed_and_unfinished_messages_are_left_out_and_their_children_move_up(tmp_path: Path) -> None:
    tree = [said("u", said("a", said("v", user=True, text="Still there?"), error=True), user=True, text="Hi")]

    by_id = messages(read_json(tmp_path, export(messagesTree=tree)))

    assert [(m.external_id, m.parent_id) for m in by_id.values()] == [("u", None), ("v", "u")]


def test_content_parts_replace_the_text_and_thinking_is_set_apart(tmp_path: Path) -> None:
    parts = [{"type": "think", "think": "two and two"}, {"type": "text", "text": {"value": "Four."}}]

    by_id = messages(read_json(tmp_path, export(messagesTree=[said("a", content=parts)])))

    assert (by_id["a"].content, by_id["a#reasoning"].content) == ("Four.", "two and two")


def test_feedback_on_a_message_is_its_rating(tmp_path: Path) -> None:
    tree = [said("a", text="Hi", feedback={"rating": "thumbsDown", "tag": "other"})]

    assert messages(read_json(tmp_path, export(messagesTree=tree)))["a"].rating == -1


def test_a_tree_of_any_depth_is_read(tmp_path: Path) -> None:
    depth = 3_000
    text = '{"conversationId": "c1", "messagesTree": [' + "".join(
        f'{{"messageId": "m{number}", "text": "x", "isCreatedByUser": true, "children": [' for number in range(depth)
    )
    path = tmp_path / "deep.json"
    path.write_text(text.replace("{", "{\n", 1) + "]}" * depth + "]}")
    from tests.memory.importers.reading import read_path

    assert len(conversation(read_path(path)).messages) == depth
