"""LLaMA-Factory datasets: ShareGPT preference pairs, KTO tags, alpaca instructions."""

from collections.abc import Iterator, Mapping
from typing import Any

from memory.importers import fields, sharegpt
from memory.importers.openai import conversation
from memory.importers.pairs import judged, preference
from memory.importers.records import BadRecordError, Parsed
from memory.importers.turns import Turn, chat_turn

SOURCE_SYSTEM = "llamafactory"


def read(record: Any, where: str) -> Iterator[Parsed]:
    """Yield the conversation or the preference pair of one record.

    Raises:
        BadRecordError: if the record has none of LLaMA-Factory's shapes.

    """
    record = fields.as_object(record, "record")
    turns = sharegpt.turns(record) if "conversations" in record else _alpaca(record)
    if "chosen" in record or "rejected" in record:
        yield preference(turns, chosen=[_answer(record, "chosen")], rejected=[_answer(record, "rejected")], where=where)
        return
    if "conversations" not in record:
        turns.append(_answer(record, "output"))
    if record.get("kto_tag") is not None:
        turns = judged(turns, good=fields.flag(record, "kto_tag", default=True))
    yield conversation(turns, SOURCE_SYSTEM, where)


def _alpaca(record: Mapping[str, Any]) -> list[Turn]:
    """Return what was said before the answer: system, history, then instruction with input."""
    system = fields.text(record, "system")
    turns = [Turn("system", system)] if system else []
    for round_ in fields.as_list(record.get("history") or [], "history"):
        asked_answered = fields.as_list(round_, "history")
        if len(asked_answered) != 2:
            raise BadRecordError(f"history: got a round of {len(asked_answered)} texts, allowed 2")
        for role, text in zip(("user", "assistant"), asked_answered, strict=True):
            turns.append(chat_turn({"role": role, "content": text}))
    asked = [fields.text(record, "instruction"), fields.text(record, "input")]
    turns.append(Turn("user", "\n".join(filter(None, asked))))
    return turns


def _answer(record: Mapping[str, Any], field: str) -> Turn:
    value = record.get(field)
    if isinstance(value, str):
        return chat_turn({"role": "assistant", "content": value})
    if isinstance(value, Mapping):
        return chat_turn(value)
    raise BadRecordError(f"{field}: got {fields.shown(value)}, allowed text or a message")
