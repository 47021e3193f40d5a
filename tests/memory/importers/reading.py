"""Ways for tests to read an export as the import does."""

import json
from pathlib import Path
from typing import Any

from memory.importers.detect import AUTO, recognise
from memory.importers.reading import read
from memory.importers.records import Parsed, ParsedConversation, ParsedMessage


def read_path(path: Path, format: str = AUTO) -> list[Parsed]:  # noqa: A002
    """Return everything that the file at `path` yields."""
    return list(read(recognise(path, format)))


def read_json(tmp_path: Path, value: Any, format: str = AUTO) -> list[Parsed]:  # noqa: A002
    """Return everything that a JSON file with `value` yields."""
    path = tmp_path / "export.json"
    path.write_text(json.dumps(value))
    return read_path(path, format)


def conversation(found: list[Parsed]) -> ParsedConversation:
    """Return the only record found, which must be a conversation."""
    [only] = found
    assert isinstance(only, ParsedConversation), only
    return only


def messages(found: list[Parsed]) -> dict[str, ParsedMessage]:
    """Return the messages of the only conversation found, by their external id."""
    return {message.external_id: message for message in conversation(found).messages}
