"""Which format a file has, told from its content."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from memory.importers import (
    chatgpt,
    claude,
    legacy,
    librechat,
    llamafactory,
    native,
    openai,
    openwebui,
    sharegpt,
    trl,
)
from memory.importers.files import Part, parts_of
from memory.importers.json_values import Value, values
from memory.importers.records import BadRecordError, Parsed, Skipped, UnreadableFileError

Reader = Callable[[Any, str], Iterator[Parsed]]

READERS: Mapping[str, Reader] = {
    "native": native.read,
    "chatgpt": chatgpt.read,
    "claude": claude.read,
    "openwebui": openwebui.read,
    "librechat": librechat.read,
    "sharegpt": sharegpt.read,
    "openai": openai.read,
    "trl": trl.read,
    "llamafactory": llamafactory.read,
}
LEGACY = "legacy"
AUTO = "auto"
FORMATS = (*READERS, LEGACY)

# How many records may be broken or foreign before the first one that tells the format.
PROBED_RECORDS = 20

_NATIVE_FIELDS = ("participant", "training_allowed", "started_at", "source_system")


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file with its format, its parts in the order to read, and the archive members that were refused."""

    path: Path
    format: str
    parts: tuple[Part, ...] = ()
    refused: tuple[Skipped, ...] = ()
    only_ratings: bool = False


def recognise(path: Path, format: str = AUTO) -> Recognised:  # noqa: A002 - the word of the command line
    """Return what the file at `path` is; with a `format` other than "auto", check that it is that.

    Raises:
        UnreadableFileError: if it is missing, unreadable, or of no known format.

    """
    if _is_database(path):
        if format not in (AUTO, LEGACY):
            raise UnreadableFileError(f"is a SQLite database, not {format}")
        legacy.check(path)
        return Recognised(path, LEGACY)
    if format == LEGACY:
        raise UnreadableFileError("is no SQLite database")
    parts = parts_of(path)
    probes = _probes(parts.readable)
    found = next((name for name in map(format_of, probes) if name is not None), None)
    if format == AUTO:
        if found is None:
            raise UnreadableFileError(_unrecognised(probes))
        format = found  # noqa: A001
    elif found not in (None, format) and not _reads_any(READERS[format], probes):
        raise UnreadableFileError(f"looks like {found}, not {format}")
    only_ratings = bool(probes) and all(_is_rating(probe) for probe in probes)
    return Recognised(path, format, parts.readable, parts.refused, only_ratings)


def format_of(record: Any) -> str | None:
    """Return the format whose shape `record` has, or None."""
    if not isinstance(record, Mapping):
        return None
    return next((name for name, has_shape in _SHAPES if has_shape(record)), None)


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(legacy.MAGIC)) == legacy.MAGIC
    except OSError as error:
        raise UnreadableFileError((error.strerror or str(error)).lower()) from error


def _probes(parts: tuple[Part, ...]) -> list[Any]:
    """Return the first records of the first part that has any."""
    for part in parts:
        try:
            probed = [value.data for value in islice(values(part), PROBED_RECORDS) if isinstance(value, Value)]
        except UnreadableFileError:
            # In an archive another member may tell; what is wrong with this one is said when it is read.
            if len(parts) == 1:
                raise
            continue
        if probed:
            return probed
    return []


def _reads_any(reader: Reader, probes: list[Any]) -> bool:
    for probe in probes:
        try:
            if list(reader(probe, "")):
                return True
        except BadRecordError:
            continue
    return False


def _unrecognised(probes: list[Any]) -> str:
    if not probes:
        return "holds no whole record to tell its format by"
    first = probes[0]
    seen = f"the fields {', '.join(map(str, list(first)[:8]))}" if isinstance(first, Mapping) else repr(first)[:60]
    return f"is of no known format (its first record has {seen}); known are {', '.join(FORMATS)}"


def _is_rating(record: Any) -> bool:
    return (
        isinstance(record, Mapping)
        and not {"mapping", "messages", "chat"} & set(record)
        and (_is_chatgpt_feedback(record) or _is_openwebui_feedback(record))
    )


def _is_chatgpt_feedback(record: Mapping[str, Any]) -> bool:
    return "rating" in record and ("conversation_id" in record or "message_id" in record)


def _is_openwebui_feedback(record: Mapping[str, Any]) -> bool:
    data, meta = record.get("data"), record.get("meta")
    return isinstance(data, Mapping) and "rating" in data and isinstance(meta, Mapping)


def _is_openwebui(record: Mapping[str, Any]) -> bool:
    chat = record.get("chat", record)
    has_history = isinstance(chat, Mapping) and isinstance(chat.get("history"), Mapping)
    return has_history or _is_openwebui_feedback(record)


def _is_llamafactory(record: Mapping[str, Any]) -> bool:
    if "conversations" in record:
        return bool({"chosen", "rejected", "kto_tag"} & set(record))
    return "instruction" in record and bool({"output", "chosen", "rejected"} & set(record))


def _is_trl(record: Mapping[str, Any]) -> bool:
    return (
        {"chosen", "rejected"} <= set(record)
        or {"prompt", "completion"} <= set(record)
        or {"messages", "label"} <= set(record)
    )


def _is_native(record: Mapping[str, Any]) -> bool:
    return "messages" in record and ("id" in record or any(name in record for name in _NATIVE_FIELDS))


# The first shape that fits decides, so the more telling ones stand first.
_SHAPES: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("chatgpt", lambda record: bool({"mapping", "current_node"} & set(record)) or _is_chatgpt_feedback(record)),
    ("claude", lambda record: "chat_messages" in record),
    ("openwebui", _is_openwebui),
    ("librechat", lambda record: "messagesTree" in record or {"conversationId", "messages"} <= set(record)),
    ("openai", lambda record: {"preferred_output", "non_preferred_output"} <= set(record)),
    ("openai", lambda record: {"messages", "rejected_message"} <= set(record)),
    ("llamafactory", _is_llamafactory),
    ("trl", _is_trl),
    ("sharegpt", lambda record: isinstance(record.get("conversations"), list)),
    ("native", _is_native),
    ("openai", lambda record: "messages" in record),
    ("openai", lambda record: isinstance(record.get("input"), Mapping) and isinstance(record.get("output"), Mapping)),
)
