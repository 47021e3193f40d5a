"""Rows of a file as pairs, and pairs as TRL's records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from memory import rules
from memory.importers import fields, trl
from memory.importers.records import BadRecordError, ParsedConversation, ParsedPreference
from memory.importing.pairs import IMPORTED_MARGIN
from memory.models import PreferencePair, SftPair

# The columns that a CSV file must have, and those that are read where it has them.
REQUIRED: Mapping[type[SftPair] | type[PreferencePair], tuple[str, ...]] = {
    SftPair: ("instruction", "response"),
    PreferencePair: ("prompt", "chosen", "rejected"),
}
OPTIONAL: Mapping[type[SftPair] | type[PreferencePair], tuple[str, ...]] = {
    SftPair: ("context", "category", "confidence", "reward_intensity", "created_at"),
    PreferencePair: ("margin", "confidence", "created_at"),
}
# What a record of JSONL must have.
RECORDS: Mapping[type[SftPair] | type[PreferencePair], str] = {
    SftPair: "prompt and completion, or messages that end with user, assistant",
    PreferencePair: "prompt, chosen and rejected",
}


def pair_of_cells(model: type[SftPair] | type[PreferencePair], cells: Mapping[str, str]) -> SftPair | PreferencePair:
    """Return a new pair from the cells of a CSV row, not stored yet; an empty cell is a missing one.

    Raises:
        BadRecordError: a cell cannot be read.

    """
    given = {name: fields.storable(cell) for name, cell in cells.items() if cell != ""}
    common: dict[str, Any] = {"confidence": _number(given, "confidence", 1.0)}
    if (said := fields.moment(given, "created_at")) is not None:
        common["created_at"] = said
    if model is SftPair:
        return SftPair(
            instruction=given.get("instruction", ""),
            response=given.get("response", ""),
            context=_messages(given, "context") or [],
            category=_category(given),
            reward_intensity=_number(given, "reward_intensity", rules.DEFAULT_REWARD_INTENSITY),
            source=SftPair.Source.IMPORT,
            **common,
        )
    return PreferencePair(
        prompt=_messages(given, "prompt"),
        chosen=given.get("chosen", ""),
        rejected=given.get("rejected", ""),
        margin=_number(given, "margin", IMPORTED_MARGIN),
        source=PreferencePair.Source.IMPORT,
        **common,
    )


def pair_of_record(model: type[SftPair] | type[PreferencePair], record: Mapping[str, Any]) -> SftPair | PreferencePair:
    """Return a new pair from a record in one of TRL's forms, not stored yet.

    Raises:
        BadRecordError: the record has none of these forms, or is one of the other channel.

    """
    parsed = next(trl.read(record, ""))
    if model is SftPair and isinstance(parsed, ParsedConversation):
        return _last_turn(parsed)
    if model is PreferencePair and isinstance(parsed, ParsedPreference):
        return PreferencePair(
            prompt=[dict(message) for message in parsed.prompt],
            chosen=parsed.chosen,
            rejected=parsed.rejected,
            margin=IMPORTED_MARGIN,
            source=PreferencePair.Source.IMPORT,
        )
    raise BadRecordError(f"record: got {', '.join(sorted(record))}, allowed {RECORDS[model]}")


def record_of_pair(pair: SftPair | PreferencePair) -> dict[str, Any]:
    """Return a pair as TRL reads it: conversational prompt-completion, or conversational preference."""
    if isinstance(pair, SftPair):
        return {
            "prompt": pair.prompt,
            "completion": [{"role": "assistant", "content": pair.response}],
        }
    return {
        "prompt": pair.prompt,
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def _last_turn(parsed: ParsedConversation) -> SftPair:
    said = [message for message in parsed.messages if message.kind == "dialogue"]
    if len(said) < 2 or (said[-2].role, said[-1].role) != ("user", "assistant"):
        roles = ", ".join(message.role for message in said)
        raise BadRecordError(f"record: got messages of {roles}, allowed messages that end with user, assistant")
    *context, question, answer = said
    return SftPair(
        instruction=question.content,
        response=answer.content,
        context=[{"role": message.role, "content": message.content} for message in context],
        reward_intensity=rules.reward_of(logged=answer.reward_intensity, rating=answer.rating),
        source=SftPair.Source.IMPORT,
    )


def _category(cells: Mapping[str, str]) -> str:
    category, longest = cells.get("category", ""), SftPair._meta.get_field("category").max_length or 0
    if len(category) > longest:
        raise BadRecordError(f"category: got {len(category)} characters, allowed {longest} or less")
    return category


def _number(cells: Mapping[str, str], name: str, default: float) -> float:
    if name not in cells:
        return default
    try:
        return float(cells[name])
    except ValueError:
        raise BadRecordError(f"{name}: got {fields.shown(cells[name])}, allowed a number") from None


def _messages(cells: Mapping[str, str], name: str) -> Any:
    """Return the messages in a cell: a JSON list, or a text that a person said."""
    text = cells.get(name)
    if text is None:
        return None
    try:
        found = fields.plain(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list):
        return found
    if name == "prompt":
        return [{"role": "user", "content": text}]
    raise BadRecordError(f"{name}: got {fields.shown(text)}, allowed a JSON list of messages")
