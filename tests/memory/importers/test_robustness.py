"""No value of the wrong type, wherever it stands, makes a reader fail otherwise than by naming the record."""

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from memory.importers.detect import READERS, format_of
from memory.importers.records import BadRecordError

JUNK: list[Any] = [
    None,
    True,
    7,
    -1,
    10**30,
    Decimal("1.5"),
    "",
    "x",
    "\ud83d\x00",
    [],
    {},
    [None],
    ["x"],
    [[]],
    [{}],
    {"a": []},
]

PART = {"type": "text", "text": "Hi"}
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [PART], "weight": 1, "tool_calls": []}]

SAMPLES: list[tuple[str, dict[str, Any]]] = [
    (
        "native",
        {
            "id": "c",
            "title": "t",
            "participant": "p",
            "training_allowed": True,
            "started_at": 1,
            "updated_at": "2024-05-01",
            "metadata": {"a": 1},
            "messages": [
                {
                    "id": "m",
                    "parent": None,
                    "role": "assistant",
                    "content": "Hi",
                    "kind": "dialogue",
                    "internal_generated": False,
                    "active": True,
                    "rating": 1,
                    "reward_intensity": 0.5,
                    "loss": 1.0,
                    "model": "m",
                    "original_content": "Ho",
                    "created_at": 1,
                },
                {"id": "n", "role": "assistant", "content": "x", "kind": "introspection", "internal_generated": True},
            ],
        },
    ),
    (
        "chatgpt",
        {
            "conversation_id": "c",
            "title": "t",
            "create_time": 1,
            "update_time": 2,
            "current_node": "a",
            "is_do_not_remember": False,
            "default_model_slug": "m",
            "mapping": {
                "u": {"parent": None, "children": ["a"], "message": None},
                "a": {
                    "parent": "u",
                    "children": [],
                    "message": {
                        "author": {"role": "assistant"},
                        "content": {"content_type": "thoughts", "thoughts": [{"summary": "s", "content": "c"}]},
                        "weight": 1,
                        "recipient": "all",
                        "channel": "final",
                        "create_time": 3,
                        "metadata": {"model_slug": "m", "is_visually_hidden_from_conversation": False},
                    },
                },
                "b": {
                    "parent": "a",
                    "children": [],
                    "message": {
                        "author": {"role": "user"},
                        "content": {"content_type": "multimodal_text", "parts": ["Hi", PART]},
                    },
                },
                "c": {
                    "parent": "b",
                    "message": {
                        "author": {"role": "user"},
                        "content": {"content_type": "user_editable_context", "user_profile": "p"},
                    },
                },
            },
        },
    ),
    ("chatgpt", {"conversation_id": "c", "message_id": "m", "rating": "thumbsUp"}),
    (
        "claude",
        {
            "uuid": "c",
            "name": "t",
            "created_at": "2024-05-01",
            "updated_at": None,
            "current_leaf_message_uuid": "a",
            "model": "m",
            "chat_messages": [
                {
                    "uuid": "a",
                    "sender": "assistant",
                    "text": "Hi",
                    "parent_message_uuid": None,
                    "created_at": "2024-05-01",
                    "content": [PART, {"type": "thinking", "thinking": "hm"}],
                    "attachments": [{"extracted_content": "x"}],
                },
                {"uuid": "b", "sender": "human", "text": "", "attachments": [{"extracted_content": "x"}]},
            ],
        },
    ),
    (
        "openwebui",
        {
            "id": "c",
            "title": "t",
            "created_at": 1,
            "updated_at": 2,
            "chat": {
                "title": "t",
                "timestamp": 5,
                "history": {
                    "currentId": "a",
                    "messages": {
                        "a": {
                            "id": "a",
                            "parentId": None,
                            "childrenIds": ["b"],
                            "role": "assistant",
                            "content": "Hi",
                            "timestamp": 1,
                            "model": "m",
                            "done": True,
                            "error": None,
                            "annotation": {"rating": 1},
                            "output": [
                                {"type": "reasoning", "content": [PART], "summary": [PART]},
                                {"type": "message", "content": [PART]},
                            ],
                        },
                        "b": {"parentId": "a", "role": "user", "content": "Hi"},
                    },
                },
            },
        },
    ),
    (
        "openwebui",
        {
            "data": {"rating": 1},
            "meta": {"chat_id": "c", "message_id": "m"},
            "snapshot": {
                "chat": {"id": "c", "chat": {"history": {"messages": {"m": {"role": "user", "content": "x"}}}}}
            },
        },
    ),
    (
        "librechat",
        {
            "conversationId": "c",
            "title": "t",
            "options": {"model": "m"},
            "messagesTree": [
                {
                    "messageId": "a",
                    "isCreatedByUser": False,
                    "text": "Hi",
                    "error": False,
                    "unfinished": False,
                    "createdAt": "2024-05-01",
                    "content": [PART],
                    "model": "m",
                    "feedback": {"rating": "thumbsUp"},
                    "children": [{"messageId": "b", "isCreatedByUser": True, "text": "x", "children": []}],
                }
            ],
        },
    ),
    ("librechat", {"conversationId": "c", "messages": [{"messageId": "a", "parentMessageId": None, "text": "x"}]}),
    ("sharegpt", {"id": "c", "system": "s", "conversations": [{"from": "human", "value": "Hi"}]}),
    ("openai", {"messages": CHAT}),
    ("openai", {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:], "non_preferred_output": CHAT[1:]}),
    ("openai", {"messages": CHAT, "rejected_message": CHAT[1]}),
    ("openai", {"input": {"messages": CHAT[:1]}, "output": {"choices": [{"message": CHAT[1]}]}}),
    ("trl", {"messages": CHAT, "label": True}),
    ("trl", {"prompt": CHAT[:1], "completion": CHAT[1:], "label": False}),
    ("trl", {"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": CHAT[1:]}),
    ("trl", {"chosen": CHAT, "rejected": CHAT}),
    ("trl", {"chosen": "a b", "rejected": "a c"}),
    (
        "llamafactory",
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
    ),
    (
        "llamafactory",
        {"instruction": "a", "input": "b", "output": "c", "system": "s", "history": [["q", "a"]], "kto_tag": True},
    ),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def replaced(record: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    changed = copy.deepcopy(record)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = junk
    return changed


@pytest.mark.parametrize(("format", "record"), SAMPLES, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SAMPLES)])
def test_a_value_of_the_wrong_type_is_named_or_harmless(format: str, record: dict[str, Any]) -> None:  # noqa: A002
    reader = READERS[format]
    assert format_of(record) == format
    assert list(reader(record, "record 1"))
    tried = 0
    for path in places(record):
        for junk in JUNK:
            tried += 1
            changed = replaced(record, path, junk)
            format_of(changed)
            try:
                list(reader(changed, "record 1"))
            except BadRecordError as error:
                assert "\n" not in str(error)
    assert tried >= 3 * len(JUNK)
