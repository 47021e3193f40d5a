import json
from pathlib import Path
from typing import Any

import pytest

from memory.importers.detect import FORMATS, format_of, recognise
from memory.importers.records import ParsedConversation, UnreadableFileError
from tests.memory.importers.reading import read_path

SAID = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("record", "format"),
    [
        ({"id": "c", "messages": SAID}, "native"),
        ({"participant": "Mara", "messages": SAID}, "native"),
        ({"mapping": {}}, "chatgpt"),
        ({"rating": "thumbsUp", "message_id": "a"}, "chatgpt"),
        ({"chat_messages": []}, "claude"),
        ({"id": "c", "chat": {"history": {"messages": {}}}}, "openwebui"),
        ({"id": "c", "history": {"messages": {}}}, "openwebui"),
        ({"data": {"rating": 1}, "meta": {"message_id": "a"}}, "openwebui"),
        ({"conversationId": "c", "messagesTree": []}, "librechat"),
        ({"conversationId": "c", "messages": []}, "librechat"),
        ({"id": "c", "conversations": []}, "sharegpt"),
        ({"messages": SAID}, "openai"),
        ({"messages": SAID, "label": True}, "trl"),
        ({"conversations": [], "kto_tag": True}, "llamafactory"),
        ({"id": "me", "email": "me@example.org"}, None),
        ({"id": "c", "title": "shared", "conversation_id": "c"}, None),
        ([1], None),
        ("text", None),
    ],
)
def test_the_shape_of_a_record_tells_the_format(record: Any, format: str | None) -> None:  # noqa: A002
    assert format_of(record) == format


def test_records_that_tell_nothing_may_come_first(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{}, 7, {"conversations": [{"from": "human", "value": "Hi"}]}]))

    assert recognise(path).format == "sharegpt"


def test_a_named_format_is_taken_where_the_shape_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"messages": SAID}]))

    [found] = read_path(path, "trl")

    assert isinstance(found, ParsedConversation)
    assert found.source_system == "trl"


@pytest.mark.parametrize(
    ("content", "format", "reason"),
    [
        (b'[{"conversations": [{"from": "human", "value": "Hi"}]}]', "chatgpt", "looks like sharegpt, not chatgpt"),
        (b'[{"a": 1}]', "legacy", "is no SQLite database"),
        (b"", "auto", "is empty"),
        (b"Dear diary", "auto", "is neither JSON, nor a ZIP archive, nor a SQLite database"),
        (b"[]", "auto", "holds no whole record to tell its format by"),
        (b'[{"mapping": {"a"', "auto", "holds no whole record to tell its format by"),
        (
            b'{"email": "me", "id": 1}',
            "auto",
            f"is of no known format (its first record has the fields email, id); known are {', '.join(FORMATS)}",
        ),
        (b"[1, 2]", "auto", f"is of no known format (its first record has 1); known are {', '.join(FORMATS)}"),
        (b"[1, 2]", "chatgpt", None),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes, format: str, reason: str | None) -> None:  # noqa: A002
    path = tmp_path / "export"
    path.write_bytes(content)

    if reason is None:
        assert recognise(path, format).format == format
        return
    with pytest.raises(UnreadableFileError) as caught:
        recognise(path, format)
    assert str(caught.value) == reason


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"^no such file or directory$"):
        recognise(tmp_path / "gone.json")
