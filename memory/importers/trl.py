"""TRL datasets: messages, prompt with completion, preference pairs, answers with a label."""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from memory.importers import fields
from memory.importers.openai import conversation
from memory.importers.pairs import judged, preference
from memory.importers.records import BadRecordError, Parsed
from memory.importers.turns import Turn, chat_turn

SOURCE_SYSTEM = "trl"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation or the preference pair of one row.

    Raises:
        BadRecordError: if the row has none of TRL's shapes.

    """
    record = fields.as_object(record, "record")
    if "chosen" in record or "rejected" in record:
        yield _preference(record, where)
        return
    if "messages" in record:
        turns = _turns(record["messages"], "messages", role="assistant")
    else:
        turns = _turns(record.get("prompt"), "prompt", role="user")
        turns += _turns(record.get("completion"), "completion", role="assistant")
    if record.get("label") is not None:
        turns = judged(turns, good=_label(record["label"]))
    yield conversation(turns, SOURCE_SYSTEM, where)


def _preference(record: Mapping[str, Any], where: str) -> Parsed:
    chosen, rejected, prompt = record.get("chosen"), record.get("rejected"), record.get("prompt")
    if isinstance(chosen, str) and isinstance(rejected, str) and prompt is None:
        prompt = _shared_text(chosen, rejected)
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    chosen_turns = _turns(chosen, "chosen", role="assistant")
    rejected_turns = _turns(rejected, "rejected", role="assistant")
    # Sides that bring the conversation with them hold the prompt, whatever else the row has.
    if len(chosen_turns) > 1 and chosen_turns[0].role != "assistant":
        shared = _shared_turns(chosen_turns, rejected_turns)
        return preference(
            chosen_turns[:shared], chosen=chosen_turns[shared:], rejected=rejected_turns[shared:], where=where
        )
    asked = _turns(prompt, "prompt", role="user")
    return preference(asked, chosen=chosen_turns, rejected=rejected_turns, where=where)


def _turns(value: Any, field: str, *, role: str) -> list[Turn]:
    """Return turns from a list of messages, or from a text that `role` says."""
    if isinstance(value, str):
        return [chat_turn({"role": role, "content": value})]
    if isinstance(value, Mapping):
        value = [value]
    return [chat_turn(message) for message in fields.as_list(value, field)]


def _label(value: Any) -> bool:
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise BadRecordError(f"label: got {fields.shown(value)}, allowed true or false")


def _shared_text(chosen: str, rejected: str) -> str:
    """Return what both texts begin with, up to the last space, so that no word is cut in two."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = "".join(left for left, _ in pairs)
    return shared[: shared.rfind(" ") + 1]


def _shared_turns(chosen: list[Turn], rejected: list[Turn]) -> int:
    """Return how many turns both begin with; the answer is never among them."""
    count = 0
    for left, right in zip(chosen[:-1], rejected[:-1], strict=False):
        if (left.role, left.text) != (right.role, right.text):
            break
        count += 1
    return count
