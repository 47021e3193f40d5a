"""A SQLite database with an `sft_pairs` table: what was collected before this project kept conversations."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from memory import rules
from memory.importers import fields
from memory.importers.contents import content_of
from memory.importers.records import BadRecordError, CutOff, Parsed, ParsedSftPair, Skipped, UnreadableFileError

MAGIC = b"SQLite format 3\x00"

_REQUIRED = ("instruction", "response")
# Times that such tables are known to hold what is said of the pair, the most telling name first.
_CREATED = ("created_at", "timestamp")
_USED = ("used_timestamp", "used_at")


def check(path: Path) -> None:
    """Raise `UnreadableFileError` unless the database at `path` has a table of pairs with instruction and response."""
    try:
        with closing(_connect(path)) as connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(sft_pairs)")]
    except sqlite3.Error as error:
        raise UnreadableFileError(f"SQLite cannot read it: {error}") from error
    if not columns:
        raise UnreadableFileError("it is a SQLite database without a table sft_pairs")
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise UnreadableFileError(f"its table sft_pairs lacks {', '.join(missing)}; it has {', '.join(columns)}")


def read(path: Path) -> Iterator[Parsed]:
    """Yield each row of `sft_pairs`, with its usage; columns that are not there take the project's defaults."""
    with closing(_connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        number = 0
        try:
            for row in connection.execute("SELECT * FROM sft_pairs ORDER BY rowid"):
                number += 1
                where = f"row {number}"
                try:
                    yield _pair(dict(row), where)
                except BadRecordError as error:
                    yield Skipped(where, str(error))
        except sqlite3.Error as error:
            yield CutOff(path.stat().st_size, f"SQLite cannot read on after row {number}: {error}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    # A text that is not UTF-8 is one bad character, not the end of the table.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


def _pair(row: Mapping[str, Any], where: str) -> ParsedSftPair:
    is_used = bool(_number(row, "is_used"))
    created_at = fields.moment(row, *_CREATED)
    used_timestamp = fields.moment(row, *_USED)
    epoch = _number(row, "training_epoch")
    if is_used:
        # A use always has a time and an epoch here; the old table may know neither.
        used_timestamp = used_timestamp or created_at
        epoch = epoch or 0
    confidence = _in_unit_interval(row, "confidence", default=1.0)
    reward = _in_unit_interval(row, "reward_intensity", default=rules.DEFAULT_REWARD_INTENSITY)
    return ParsedSftPair(
        instruction=fields.text(row, "instruction"),
        response=fields.text(row, "response"),
        context=_context(row.get("context")),
        category=fields.text(row, "category")[:64],
        confidence=confidence,
        reward_intensity=reward,
        loss=fields.loss(row),
        created_at=created_at,
        is_used=is_used,
        used_timestamp=used_timestamp,
        training_epoch=None if epoch is None else int(epoch),
        metadata=_metadata(row),
        where=where,
    )


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a number, also from the text that a column without a type keeps it as."""
    value = row.get(name)
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except ArithmeticError as error:
            raise BadRecordError(f"{name}: got {fields.shown(value)}, allowed a number") from error
    return fields.number({name: value}, name)


def _in_unit_interval(row: Mapping[str, Any], name: str, *, default: float) -> float:
    found = fields.unit_interval({name: _number(row, name)}, name)
    return default if found is None else found


def _context(value: Any) -> tuple[Mapping[str, str], ...]:
    """Return the context as messages: a JSON list of them, or a plain text, which becomes a system message."""
    if not value:
        return ()
    parsed = _json(value)
    if not isinstance(parsed, list):
        return ({"role": "system", "content": fields.text({"context": value}, "context")},)
    found = []
    for message in parsed:
        message = fields.as_object(message, "context")
        text = content_of(message.get("content")).text
        found.append({"role": fields.text(message, "role") or "user", "content": text})
    return tuple(found)


def _metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row's own metadata, with where the pair came from in the old table."""
    parsed = _json(row.get("metadata"))
    found = dict(parsed) if isinstance(parsed, dict) else {}
    for name in ("source", "id", "message_id", "conversation_id"):
        if row.get(name) is not None:
            found[f"legacy_{name}"] = row[name]
    cleaned: dict[str, Any] = fields.plain(found)
    return cleaned


def _json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
