"""OpenAI, TRL and LLaMA-Factory: files that were made for training."""

import json
from pathlib import Path
from typing import Any

import pytest

from memory.importers.detect import recognise
from memory.importers.records import Parsed, ParsedConversation, ParsedPreference, Skipped
from tests.memory.importers.reading import conversation, read_json, read_path

DATA = Path(__file__).parents[4] / "shared" / "data"

ASK: list[dict[str, Any]] = [{"role": "user", "content": "Two and two?"}]
GOOD: list[dict[str, Any]] = [{"role": "assistant", "content": "Four."}]
BAD: list[dict[str, Any]] = [{"role": "assistant", "content": "<think>hm</think>Five."}]
HUMAN = [{"from": "human", "value": "Two and two?"}]


def preference(found: list[Parsed]) -> ParsedPreference:
    [only] = found
    assert isinstance(only, ParsedPreference), only
    return only


@pytest.mark.parametrize(
    ("format", "record"),
    [
        ("openai", {"input": {"messages": ASK, "tools": []}, "preferred_output": GOOD, "non_preferred_output": BAD}),
        ("openai", {"input": ASK, "preferred_output": GOOD, "non_preferred_output": BAD}),
        ("openai", {"messages": ASK + GOOD, "rejected_message": BAD[0], "split": "TRAIN"}),
        ("trl", {"prompt": ASK, "chosen": GOOD, "rejected": BAD}),
        ("trl", {"chosen": ASK + GOOD, "rejected": ASK + BAD}),
        ("trl", {"prompt": "Two and two?", "chosen": ASK + GOOD, "rejected": ASK + BAD, "messages": ASK + GOOD}),
        ("trl", {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."}),
        ("trl", {"prompt": ASK, "chosen": "Four.", "rejected": "<think>hm</think>Five."}),
        (
            "llamafactory",
            {
                "conversations": HUMAN,
                "chosen": {"from": "gpt", "value": "Four."},
                "rejected": {"from": "gpt", "value": "Five."},
            },
        ),
        ("llamafactory", {"instruction": "Two and two?", "input": "", "chosen": "Four.", "rejected": "Five."}),
    ],
)
def test_a_preference_pair_is_read_in_every_shape(tmp_path: Path, format: str, record: dict[str, Any]) -> None:  # noqa: A002
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(record) + "\n")

    assert recognise(path).format == format
    pair = preference(read_path(path))
    assert pair.prompt == ({"role": "user", "content": "Two and two?"},)
    assert (pair.chosen, pair.rejected) == ("Four.", "Five.")


def test_an_implicit_prompt_of_plain_text_ends_at_a_word(tmp_path: Path) -> None:
    pair = preference(read_json(tmp_path, [{"chosen": "The sky is blue.", "rejected": "The sky is black."}]))

    assert pair.prompt[0]["content"].strip() == "The sky is"
    assert (pair.chosen, pair.rejected) == ("blue.", "black.")


def test_the_system_message_and_the_history_are_part_of_the_prompt(tmp_path: Path) -> None:
    record = {
        "system": "Be short.",
        "history": [["Hi", "Hello"]],
        "instruction": "Add.",
        "input": "2 2",
        "chosen": "4",
        "rejected": "5",
    }

    assert [(m["role"], m["content"]) for m in preference(read_json(tmp_path, [record])).prompt] == [
        ("system", "Be short."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add.\n2 2"),
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": [], "chosen": GOOD, "rejected": BAD}, "prompt: got no messages, allowed messages that end with"),
        (
            {"prompt": ASK, "chosen": GOOD * 2, "rejected": BAD},
            "chosen: got 2 answers of the assistant, allowed exactly",
        ),
        (
            {"prompt": ASK, "chosen": GOOD, "rejected": [{"role": "assistant", "content": "<think>never ends"}]},
            "rejected: got 0 answers of the assistant, allowed exactly one",
        ),
    ],
)
def test_what_is_no_pair_is_named(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    [skipped] = read_json(tmp_path, [record])

    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith(reason)


@pytest.mark.parametrize(
    ("format", "record"),
    [
        ("openai", {"messages": ASK + GOOD}),
        (
            "openai",
            {"input": {"messages": ASK, "model": "m"}, "output": {"choices": [{"message": GOOD[0]}]}, "tags": {}},
        ),
        ("trl", {"prompt": ASK, "completion": GOOD}),
        ("trl", {"prompt": "Two and two?", "completion": "Four."}),
        ("llamafactory", {"instruction": "Two and two?", "output": "Four."}),
    ],
)
def test_an_answer_to_a_prompt_is_a_conversation(tmp_path: Path, format: str, record: dict[str, Any]) -> None:  # noqa: A002
    parsed = conversation(read_json(tmp_path, [record]))

    assert parsed.source_system == format
    assert [(m.role, m.content, m.rating) for m in parsed.messages] == [
        ("user", "Two and two?", None),
        ("assistant", "Four.", None),
    ]


@pytest.mark.parametrize(("label", "thumb"), [(True, 1), (False, -1), (1, 1), (0, -1)])
@pytest.mark.parametrize(
    "record",
    [{"messages": ASK + GOOD}, {"prompt": ASK, "completion": GOOD}, {"prompt": "Two and two?", "completion": "Four."}],
)
def test_a_label_is_the_rating_of_the_last_answer(
    tmp_path: Path, record: dict[str, Any], label: Any, thumb: int
) -> None:
    parsed = conversation(read_json(tmp_path, [{**record, "label": label}]))

    assert [m.rating for m in parsed.messages] == [None, thumb]


@pytest.mark.parametrize(("tag", "thumb"), [(True, 1), (False, -1)])
@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [*HUMAN, {"from": "gpt", "value": "Four."}]},
        {"instruction": "Two and two?", "output": "Four."},
    ],
)
def test_a_kto_tag_is_the_rating_of_the_last_answer(
    tmp_path: Path, record: dict[str, Any], tag: bool, thumb: int
) -> None:
    parsed = conversation(read_json(tmp_path, [{**record, "kto_tag": tag}], format="llamafactory"))

    assert [m.rating for m in parsed.messages] == [None, thumb]


def test_a_label_without_an_answer_is_named(tmp_path: Path) -> None:
    assert read_json(tmp_path, [{"messages": ASK, "label": True}]) == [
        Skipped("record 1", "label: got user, allowed messages that end with the assistant's")
    ]


def test_tool_calls_are_chatter_and_weight_zero_is_not_to_be_learned(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "add"}}]}
    record = {"messages": [*ASK, call, {"role": "tool", "content": "4"}, {**GOOD[0], "weight": 0}]}

    parsed = conversation(read_json(tmp_path, [record]))

    assert [(m.role, m.reward_intensity) for m in parsed.messages] == [
        ("user", None),
        ("tool", None),
        ("tool", None),
        ("assistant", 0.0),
    ]


def test_reasoning_beside_the_content_is_set_apart(tmp_path: Path) -> None:
    record = {"messages": [*ASK, {**GOOD[0], "reasoning_content": "two and two"}]}

    _, thought, answer = conversation(read_json(tmp_path, [record])).messages

    assert (thought.kind, thought.content, answer.content) == ("introspection", "two and two", "Four.")


def test_the_real_preference_pairs_are_all_read() -> None:
    found = read_path(DATA / "preferences_sharegpt.json")

    assert len(found) == 300
    assert all(isinstance(each, ParsedPreference) for each in found)


def test_the_real_rated_answers_are_all_read() -> None:
    found = read_path(DATA / "kto_messages.json")

    ratings = [each.messages[-1].rating for each in found if isinstance(each, ParsedConversation)]
    assert (len(found), ratings.count(1), ratings.count(-1)) == (300, 150, 150)
