"""Pairs come from a file in TRL's formats; a bad line is named and skipped, too many of them are an error."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memory.text import content_hash, preference_hash
from training.jsonl import NAMED_BAD_LINES, PairsFileError, pairs_path, preference_jsonl, sft_jsonl

WRITTEN = datetime(2026, 5, 1, tzinfo=UTC)
GOOD = {"prompt": "What is my dog called?", "completion": "Pixel."}
GOOD_PAIR = {"prompt": "Say hello.", "chosen": "Hello.", "rejected": "Oh, what a day!"}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(folder: Path, *rows: Any) -> Path:
    """Write rows as lines; a row of bytes is a line as it stands."""
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    return path


def bad(folder: Path, row: Any, *, good: dict[str, Any] = GOOD) -> str:
    """Return what is said of a bad line among good ones."""
    read = preference_jsonl if good is GOOD_PAIR else sft_jsonl
    file = read(write(folder, row, *[good] * 20))
    (line,) = file.bad_lines
    assert (line.number, len(file.records)) == (1, 20)
    return line.reason


class TestMemoryPairs:
    @pytest.mark.parametrize(
        "row",
        [
            GOOD,
            {"prompt": [user("What is my dog called?")], "completion": [assistant("Pixel.")]},
            {"messages": [user("What is my dog called?"), assistant("Pixel.")]},
            {"messages": [user(" What is my dog called?\n"), assistant("\u200bPixel. ")]},
            {"prompt": "What is my dog called?", "completion": "<think>Which dog?</think>Pixel."},
        ],
    )
    def test_each_of_trls_shapes_is_the_same_pair(self, tmp_path: Path, row: dict[str, Any]) -> None:
        (record,) = sft_jsonl(write(tmp_path, row)).records
        assert list(record.prompt) == [user("What is my dog called?")]
        assert list(record.completion) == [assistant("Pixel.")]
        assert record.content_hash == content_hash("What is my dog called?", "Pixel.")
        assert (record.id, record.source, record.conversation) == (None, "import", None)
        assert (record.reward, record.weight, record.created_at) == (0.5, 0.5, WRITTEN)

    def test_the_last_answer_is_learned_and_the_rest_is_its_context(self, tmp_path: Path) -> None:
        context = [{"role": "system", "content": "Be brief."}, user("Hello."), assistant("Hello.")]
        row = {"messages": [*context, user("And my dog?"), assistant("Pixel.")]}
        (record,) = sft_jsonl(write(tmp_path, row)).records
        assert list(record.prompt) == [*context, user("And my dog?")]
        assert list(record.completion) == [assistant("Pixel.")]

    def test_what_a_line_says_of_itself_is_kept(self, tmp_path: Path) -> None:
        said = {"created_at": "2026-03-01T12:00:00Z", "reward": 0.8, "weight": 0.5, "source": "manual"}
        (record,) = sft_jsonl(write(tmp_path, {**GOOD, **said, "conversation": "talk 1", "id": 7})).records
        assert record.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
        assert (record.reward, record.weight) == (0.8, 0.4)
        assert (record.source, record.conversation) == ("manual", "talk 1")

    def test_an_id_stands_for_the_conversation_where_none_is_named(self, tmp_path: Path) -> None:
        (record,) = sft_jsonl(write(tmp_path, {**GOOD, "id": 7})).records
        assert record.conversation == "7"

    @pytest.mark.parametrize(("label", "reward"), [(True, 1.0), (False, 0.0)])
    def test_a_label_is_a_reward(self, tmp_path: Path, label: bool, reward: float) -> None:
        (record,) = sft_jsonl(write(tmp_path, {**GOOD, "label": label})).records
        assert (record.reward, record.weight) == (reward, reward)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"prompt": "What?"}, "completion: got None, allowed a list"),
            ({"text": "What?"}, "prompt: got None, allowed a list"),
            (["What?"], "line: got ['What?'], allowed an object"),
            ({"prompt": "?", "completion": "Pixel."}, "prompt: got 1 characters, allowed 2 or more"),
            ({"prompt": "What?", "completion": " P "}, "completion: got 1 characters, allowed 2 or more"),
            ({"messages": [assistant("Pixel.")]}, "prompt: got no messages, allowed messages that end with the user's"),
            (
                {"messages": [user("What?"), assistant("This."), assistant("That.")]},
                "prompt: got user, assistant, allowed messages that end with the user's",
            ),
            (
                {"messages": [user("What?"), assistant("This."), user("Why?")]},
                "messages: got user, assistant, user, allowed messages that end with the assistant's",
            ),
            ({**GOOD, "reward": 1.5}, "reward: got 1.5, allowed 0 to 1"),
            ({**GOOD, "weight": "much"}, "weight: got 'much', allowed a finite number"),
            (
                {**GOOD, "created_at": "yesterday"},
                "created_at: got 'yesterday', allowed seconds or milliseconds since 1970, or ISO 8601",
            ),
            (GOOD_PAIR, "got chosen or rejected, allowed prompt with completion, or messages"),
            (b'{"prompt": "gr\xfc\xdfe"}', "not UTF-8: 'utf-8' codec can't decode byte 0xfc in position 14: "),
            (b"[" * 100_000, "not JSON: nested too deeply"),
            (b'{"prompt": ', "not JSON: Expecting value at character 13"),
        ],
    )
    def test_a_bad_line_is_named_and_skipped(self, tmp_path: Path, row: Any, reason: str) -> None:
        found = bad(tmp_path, row)
        assert found == reason or (isinstance(row, bytes) and found.startswith(reason))


class TestPreferencePairs:
    @pytest.mark.parametrize(
        "row",
        [
            GOOD_PAIR,
            {
                "prompt": [user("Say hello.")],
                "chosen": [assistant("Hello.")],
                "rejected": [assistant("Oh, what a day!")],
            },
            {
                "chosen": [user("Say hello."), assistant("Hello.")],
                "rejected": [user("Say hello."), assistant("Oh, what a day!")],
            },
            {"chosen": "Say hello. Hello.", "rejected": "Say hello. Oh, what a day!"},
        ],
    )
    def test_each_of_trls_shapes_is_the_same_pair(self, tmp_path: Path, row: dict[str, Any]) -> None:
        (record,) = preference_jsonl(write(tmp_path, row)).records
        assert [message["content"].strip() for message in record.prompt] == ["Say hello."]
        assert list(record.chosen) == [assistant("Hello.")]
        assert list(record.rejected) == [assistant("Oh, what a day!")]
        assert record.content_hash == preference_hash([user("Say hello.")], "Hello.", "Oh, what a day!")
        assert (record.id, record.source, record.group, record.conversation) == (None, "import", "curated", None)
        assert (record.reward, record.weight, record.created_at) == (1.0, 1.0, WRITTEN)

    @pytest.mark.parametrize(
        ("source", "group"), [("replay", "replay"), ("rating", "drafts"), ("helpsteer", "curated")]
    )
    def test_its_source_says_which_group_a_pair_is_of(self, tmp_path: Path, source: str, group: str) -> None:
        row = {**GOOD_PAIR, "source": source, "reward": 0.25, "weight": 0.5}
        (record,) = preference_jsonl(write(tmp_path, row)).records
        assert (record.source, record.group, record.reward, record.weight) == (source, group, 0.25, 0.5)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (GOOD, "got no chosen and rejected, allowed both, with a prompt"),
            ({**GOOD_PAIR, "rejected": " Hello. "}, "rejected: got the same text as chosen, allowed only another one"),
            ({**GOOD_PAIR, "rejected": "O"}, "rejected: got 1 characters, allowed 2 or more"),
            ({**GOOD_PAIR, "rejected": None}, "rejected: got None, allowed a list"),
            ({**GOOD_PAIR, "reward": -1}, "reward: got -1.0, allowed 0 to 1"),
        ],
    )
    def test_a_bad_line_is_named_and_skipped(self, tmp_path: Path, row: Any, reason: str) -> None:
        assert bad(tmp_path, row, good=GOOD_PAIR) == reason


class TestTheFile:
    def test_five_in_a_hundred_lines_may_be_bad(self, tmp_path: Path) -> None:
        file = sft_jsonl(write(tmp_path, *[GOOD] * 95, *[b"{"] * 5))
        assert (len(file.records), len(file.bad_lines)) == (95, 5)

    def test_more_than_that_is_an_error_that_names_the_first(self, tmp_path: Path) -> None:
        with pytest.raises(PairsFileError) as caught:
            sft_jsonl(write(tmp_path, *[GOOD] * 94, *[b"[]"] * 6))
        lines = str(caught.value).splitlines()
        assert lines[0] == "pairs.jsonl: got 6 bad lines of 100, allowed 5%; the first are"
        assert lines[1] == "  pairs.jsonl, line 95: line: got [], allowed an object"
        assert len(lines) == 1 + NAMED_BAD_LINES

    def test_blank_lines_count_for_nothing_but_keep_the_numbers(self, tmp_path: Path) -> None:
        file = sft_jsonl(write(tmp_path, b"", *[GOOD] * 20, b"  ", b"{", b""))
        assert [line.number for line in file.bad_lines] == [23]
        assert len(file.records) == 20

    def test_a_byte_order_mark_is_no_part_of_the_first_line(self, tmp_path: Path) -> None:
        assert len(sft_jsonl(write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())).records) == 1

    @pytest.mark.parametrize("content", [b"", b"\n \n"])
    def test_an_empty_file_is_an_error(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(PairsFileError, match=r"^pairs\.jsonl: is empty$"):
            preference_jsonl(write(tmp_path, content))

    def test_a_file_of_another_encoding_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(PairsFileError, match=r"got 2 bad lines of 2, allowed 5%; .*\n.*line 1: not UTF-8: "):
            sft_jsonl(write(tmp_path, (json.dumps(GOOD) + "\n").encode("utf-16")))

    def test_what_cannot_be_read_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(PairsFileError, match=r"^none\.jsonl: cannot be read: No such file or directory$"):
            sft_jsonl(tmp_path / "none.jsonl")


class TestThePath:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        data_dir = tmp_path / "data"
        (data_dir / "nights").mkdir(parents=True)
        (data_dir / "nights" / "one.jsonl").touch()
        (tmp_path / "outside.jsonl").touch()
        (data_dir / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
        (data_dir / "own.jsonl").symlink_to(data_dir / "nights" / "one.jsonl")
        return data_dir

    @pytest.mark.parametrize("name", ["nights/one.jsonl", "nights/../nights/one.jsonl", "own.jsonl"])
    def test_a_file_under_the_data_folder_is_found(self, data_dir: Path, name: str) -> None:
        assert pairs_path("sft_jsonl", name, data_dir=data_dir) == data_dir / "nights" / "one.jsonl"

    @pytest.mark.parametrize("name", ["../outside.jsonl", "link.jsonl", "{data_dir}/nights/one.jsonl", "/etc/passwd"])
    def test_a_path_that_leads_elsewhere_is_refused(self, data_dir: Path, name: str) -> None:
        name = name.format(data_dir=data_dir)
        with pytest.raises(PairsFileError) as caught:
            pairs_path("sft_jsonl", name, data_dir=data_dir)
        assert str(caught.value) == (
            f"sft_jsonl: got {name}, allowed a path under DATA_DIR ({data_dir}), relative to it"
        )

    @pytest.mark.parametrize("name", ["none.jsonl", "nights"])
    def test_what_is_no_file_is_refused(self, data_dir: Path, name: str) -> None:
        with pytest.raises(PairsFileError) as caught:
            pairs_path("sft_jsonl", name, data_dir=data_dir)
        assert str(caught.value) == f"sft_jsonl: got {name}, which is no file under DATA_DIR ({data_dir})"
