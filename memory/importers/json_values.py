"""The JSON values of a file one by one, up to where it breaks: an array, lines, or objects in a row."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import ijson

from memory.importers.files import READ_ERRORS, Part, Stream
from memory.importers.records import CutOff, Skipped, UnreadableFileError

# What a failing read takes with it: the checksum of an archive's member is only checked with its last chunk.
CHUNK_BYTES = 64 * 1024
# The head tells the layout: enough for the first line of a long conversation.
HEAD_PIECES = 256
PIECE_BYTES = 4 * 1024
# Longer lines are left out: one record must fit into memory several times over.
MAX_LINE_BYTES = 64 * 1024**2
# How many lines may be broken before the first whole one for the file still to count as lines of JSON.
_LINES_TRIED = 5

_BOM = b"\xef\xbb\xbf"
_ENDS_INSIDE = "the file ends inside a record"

OnPosition = Callable[[int], None]


class Layout(Enum):
    """How the values lie in the file."""

    ARRAY = "one array"
    LINES = "one value a line"
    OBJECTS = "objects in a row, over several lines"


@dataclass(frozen=True, slots=True)
class Value:
    """One JSON value, and its place in the file."""

    data: Any
    where: str


def values(part: Part, on_position: OnPosition | None = None) -> Iterator[Value | Skipped | CutOff]:
    """Yield each whole value of `part`; memory holds one at a time.

    A broken line is skipped; any other damage is the end, told by a last `CutOff`. `on_position` gets the
    position in the file (of an archive: in the packed file) now and then.

    Raises:
        UnreadableFileError: if the bytes are no JSON at all.

    """
    layout = _layout(part)
    report = on_position or (lambda position: None)
    with part.opened() as stream:
        if layout is Layout.LINES:
            yield from _lines(stream, part.member, report)
        else:
            yield from _parsed(stream, part, layout, report)


def _layout(part: Part) -> Layout:
    head = _head(part)
    start = head.removeprefix(_BOM).lstrip()
    if not start:
        raise UnreadableFileError("is empty")
    if start.startswith(b"["):
        return Layout.ARRAY
    lines = [line for line in start.split(b"\n", _LINES_TRIED)[:_LINES_TRIED] if line.startswith(b"{")]
    if any(isinstance(_json_or_none(line), dict) for line in lines):
        return Layout.LINES
    if start.startswith(b"{"):
        return Layout.OBJECTS
    raise UnreadableFileError("is neither JSON, nor a ZIP archive, nor a SQLite database")


def _head(part: Part) -> bytes:
    """Return the first bytes; where an archive is damaged soon after its start, those before the damage."""
    pieces: list[bytes] = []
    try:
        with part.opened() as stream:
            while len(pieces) < HEAD_PIECES and (piece := stream.data.read(PIECE_BYTES)):
                pieces.append(piece)
    except READ_ERRORS as error:
        if not pieces:
            raise UnreadableFileError(f"cannot be read: {error}") from error
    return b"".join(pieces)


def _json_or_none(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _place(member: str, name: str, number: int) -> str:
    return f"{member} {name} {number}" if member else f"{name} {number}"


def _lines(stream: Stream, member: str, report: OnPosition) -> Iterator[Value | Skipped | CutOff]:
    offset = number = 0
    try:
        while line := stream.data.readline(MAX_LINE_BYTES + 1):
            number += 1
            offset += len(line)
            report(stream.raw.tell())
            where = _place(member, "line", number)
            if len(line) > MAX_LINE_BYTES:
                yield Skipped(where, f"longer than {MAX_LINE_BYTES} bytes")
                while line and not line.endswith(b"\n"):
                    line = stream.data.readline(MAX_LINE_BYTES + 1)
                    offset += len(line)
            elif line.strip():
                yield _line_value(line, where, offset, member)
    except READ_ERRORS as error:
        yield CutOff(offset, f"cannot be read on: {error}", member)


def _line_value(line: bytes, where: str, end: int, member: str) -> Value | Skipped | CutOff:
    try:
        return Value(json.loads(line.removeprefix(_BOM)), where)
    except (ValueError, RecursionError) as error:
        if line.endswith(b"\n"):
            return Skipped(where, f"not JSON: {error}")
        return CutOff(end, _ENDS_INSIDE, member)


def _parsed(stream: Stream, part: Part, layout: Layout, report: OnPosition) -> Iterator[Value | CutOff]:
    """Yield the values of an array, or of objects in a row, as a streaming parser finds them."""
    # Chunks are pushed: a parser that pulls them loses the values between the start of a chunk and its damage.
    found = ijson.sendable_list()
    parser = _parser(ijson.items_coro, found, layout)
    offset = number = 0
    cut: CutOff | None = None
    while cut is None:
        chunk = b""
        try:
            chunk = stream.data.read(CHUNK_BYTES)
            report(stream.raw.tell())
            if chunk:
                parser.send(chunk.removeprefix(_BOM) if offset == 0 else chunk)
            else:
                parser.close()
        except READ_ERRORS as error:
            cut = CutOff(offset, f"cannot be read on: {error}", part.member)
        except ijson.JSONError as error:
            cut = _damage(part, layout, offset, error) if chunk else CutOff(offset, _ENDS_INSIDE, part.member)
        for data in found:
            number += 1
            yield Value(data, _place(part.member, "record", number))
        found.clear()
        if not chunk:
            break
        offset += len(chunk)
    if cut is not None:
        yield cut


def _parser(kind: Callable[..., Any], target: Any, layout: Layout) -> Any:
    several = layout is Layout.OBJECTS
    if kind is ijson.items_coro:
        return kind(target, "" if several else "item", multiple_values=several)
    return kind(target, multiple_values=several)


def _damage(part: Part, layout: Layout, chunk_start: int, error: Exception) -> CutOff:
    """Return at which byte the parser gave up: the chunk with the damage is read again, byte by byte."""
    events = ijson.sendable_list()
    parser = _parser(ijson.basic_parse_coro, events, layout)
    reason = f"not JSON from here on: {str(error).splitlines()[0]}"
    with part.opened() as stream:
        data = stream.data.read(len(_BOM))
        offset = 0
        while data:
            try:
                if offset > 0 or data != _BOM:
                    parser.send(data)
            except ijson.JSONError:
                break
            events.clear()
            offset += len(data)
            data = stream.data.read(min(CHUNK_BYTES, chunk_start - offset) if offset < chunk_start else 1)
        return CutOff(offset, reason, part.member)
