"""The shipped example as the tests look at it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "memory" / "demo"

Message = Mapping[str, Any]
Fact = Mapping[str, Any]


@dataclass(frozen=True)
class Exchange:
    """An assistant's message of the dialogue with the question it answers."""

    conversation: str
    training_allowed: bool
    question: Message
    answer: Message


def _json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / "conversations.jsonl").read_text(encoding="utf-8").splitlines()]


CONVERSATIONS = _lines()
FACTS: list[Fact] = _json("probes.json")["facts"]
GENERAL: dict[str, list[dict[str, Any]]] = _json("general_text.json")
MESSAGES: list[Message] = [message for each in CONVERSATIONS for message in each["messages"]]
USER_TEXTS: list[str] = [message["content"] for message in MESSAGES if message["role"] == "user"]
EVERY_KIND = ("assistant_said", "corrected", "person_only")


def _is_dialogue_answer(message: Message) -> bool:
    return bool(message["role"] == "assistant" and message.get("kind", "dialogue") == "dialogue")


def _exchanges() -> Iterator[Exchange]:
    for conversation in CONVERSATIONS:
        by_id = {message["id"]: message for message in conversation["messages"]}
        for message in filter(_is_dialogue_answer, conversation["messages"]):
            question = by_id[message["parent"]]
            while question["role"] != "user":
                question = by_id[question["parent"]]
            yield Exchange(conversation["id"], conversation["training_allowed"], question, message)


def _turns_with_drafts() -> Iterator[tuple[str, list[Message]]]:
    for conversation in CONVERSATIONS:
        answers: dict[str, list[Message]] = {}
        for message in filter(_is_dialogue_answer, conversation["messages"]):
            answers.setdefault(message["parent"], []).append(message)
        yield from ((conversation["id"], drafts) for drafts in answers.values() if len(drafts) > 1)


EXCHANGES = list(_exchanges())
# Conversation id with the sibling answers, for every turn that was answered more than once.
TURNS_WITH_DRAFTS = list(_turns_with_drafts())
EDITED = [message for message in MESSAGES if message.get("original_content")]


def says(text: str, word: str) -> bool:
    """Return whether `word` stands in `text`, whatever its case, between word boundaries."""
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def says_all(text: str, expected: list[list[str]]) -> bool:
    """Return whether `text` holds a spelling of every entry of `expected`."""
    return all(any(says(text, spelling) for spelling in spellings) for spellings in expected)


def expected_words(fact: Fact) -> list[str]:
    """Return every accepted spelling of a fact."""
    return [spelling for spellings in fact["expected"] for spelling in spellings]


def facts(*kinds: str) -> list[Fact]:
    """Return the facts of these kinds."""
    return [fact for fact in FACTS if fact["kind"] in kinds]


def questions(*kinds: str) -> list[str]:
    """Return the probe questions about the facts of these kinds."""
    return [question for fact in facts(*kinds) for question in fact["questions"]]


def said(fact: Fact) -> list[Exchange]:
    """Return the exchanges that the memory channel may learn this fact from."""
    return [
        exchange
        for exchange in EXCHANGES
        if exchange.training_allowed
        and exchange.answer.get("rating") != -1
        and says_all(exchange.answer["content"], fact["expected"])
    ]


def said_outdated(fact: Fact) -> list[Exchange]:
    """Return the exchanges in which the assistant gives an older value of this fact."""
    return [
        exchange for exchange in EXCHANGES if any(says(exchange.answer["content"], value) for value in fact["outdated"])
    ]


def word_overlap(one: str, other: str) -> float:
    """Return the Jaccard index of the words of two texts, 0 (none in common) to 1 (the same words)."""
    ours, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (one, other))
    return len(ours & theirs) / len(ours | theirs)


def package_folder(package: str) -> Path:
    """Return where a package of model files lies; importing it would need libraries that nothing here uses."""
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError(package)
    return Path(spec.submodule_search_locations[0])
