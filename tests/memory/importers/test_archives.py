import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from memory.importers import files
from memory.importers.detect import recognise
from memory.importers.records import CutOff, ParsedConversation, ParsedFeedback, Skipped, UnreadableFileError
from tests.memory.importers.reading import read_path

FEEDBACK = [{"id": "f", "conversation_id": "c1", "message_id": "a", "rating": "thumbs_up"}]


def talk(name: str) -> dict[str, Any]:
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}
    return {"conversation_id": name, "mapping": {"u": {"parent": None, "children": [], "message": message}}}


def archive(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def dumped(*values: Any) -> bytes:
    return json.dumps(list(values)).encode()


def test_shards_are_read_in_order_and_feedback_last(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "export.zip",
        {
            "a/message_feedback.json": json.dumps(FEEDBACK).encode(),
            "conversations-001.json": dumped(talk("c2")),
            "conversations-000.json": dumped(talk("c1")),
            "user.json": b'{"id": "me"}',
            "chat.html": b"<html>",
        },
    )

    found = read_path(path)

    assert recognise(path).format == "chatgpt"
    assert [each.external_id for each in found if isinstance(each, ParsedConversation)] == ["c1", "c2"]
    assert isinstance(found[-1], ParsedFeedback)
    assert isinstance(found[0], ParsedConversation)
    assert found[0].where == "conversations-000.json record 1"


def test_a_claude_archive_is_told_from_its_content(tmp_path: Path) -> None:
    record = {"uuid": "c", "chat_messages": [{"uuid": "u", "sender": "human", "text": "Hi"}]}
    path = archive(
        tmp_path / "data.zip", {"data/conversations.json": dumped(record), "users.json": b"[]", "projects.json": b"[]"}
    )

    [found] = read_path(path)

    assert isinstance(found, ParsedConversation)
    assert found.source_system == "claude"


def test_a_cut_off_member_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    cut = dumped(talk("c1"), talk("c2"))[:-20]
    path = archive(
        tmp_path / "export.zip", {"conversations-000.json": cut, "conversations-001.json": dumped(talk("c3"))}
    )

    found = read_path(path)

    assert [each.external_id for each in found if isinstance(each, ParsedConversation)] == ["c1", "c3"]
    assert CutOff(len(cut), "the file ends inside a record", "conversations-000.json") in found


def test_a_member_that_unpacks_beyond_measure_is_refused(tmp_path: Path) -> None:
    bomb = b"[" + b" " * (files.MIN_BYTES_FOR_RATIO + 1) + b"]"
    path = archive(tmp_path / "export.zip", {"conversations.json": bomb})

    with pytest.raises(UnreadableFileError, match=r"^conversations.json: refused: it unpacks to \d+ times its size"):
        read_path(path)


def test_a_member_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "export.zip", {"conversations.json": dumped(talk("c1"))})
    size = len(dumped(talk("c1")))
    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", size)
    assert len(read_path(path)) == 1

    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", size - 1)
    with pytest.raises(UnreadableFileError) as caught:
        read_path(path)
    assert str(caught.value) == f"conversations.json: refused: {size} bytes unpacked, allowed {size - 1}"


@pytest.mark.parametrize("name", ["../conversations.json", "/conversations.json", "a/../../conversations.json"])
def test_a_member_that_points_outside_is_refused_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    reason = "refused: its name points outside of the archive"
    alone = archive(tmp_path / "alone.zip", {name: dumped(talk("c1"))})
    with pytest.raises(UnreadableFileError) as caught:
        read_path(alone)
    assert str(caught.value) == f"{name}: {reason}"

    both = archive(tmp_path / "both.zip", {name: dumped(talk("c1")), "conversations.json": dumped(talk("c2"))})
    refused, read = read_path(both)
    assert refused == Skipped(name, reason)
    assert isinstance(read, ParsedConversation)
    assert read.external_id == "c2"


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("conversations.json")
    info.external_attr = 0o120777 << 16
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, "/etc/passwd")

    with pytest.raises(UnreadableFileError, match=r"refused: it is a symbolic link$"):
        read_path(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("conversations.json", dumped(talk("c1")))
    content = bytearray(packed.getvalue())
    # The flag that says so stands in the header of the member and again in the directory at the end.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "export.zip"
    path.write_bytes(content)

    with pytest.raises(UnreadableFileError, match=r"^conversations.json: refused: it is encrypted$"):
        read_path(path)


def test_an_archive_without_conversations_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", {"holiday.txt": b"sun"})

    with pytest.raises(UnreadableFileError, match=r"^the archive holds no conversations.json$"):
        read_path(path)


def test_an_archive_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", {"conversations.json": dumped(talk("c1"))})
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(UnreadableFileError, match=r"^damaged archive: "):
        read_path(path)


def test_damage_inside_a_member_ends_it(tmp_path: Path) -> None:
    talks = dumped(*(talk(f"c{number}") for number in range(5_000)))
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("conversations.json", talks)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\x00" * 200
    path.write_bytes(content)

    *kept, end = read_path(path)

    assert len(kept) > 1_000
    assert isinstance(end, CutOff)
    assert end.where == "conversations.json"
