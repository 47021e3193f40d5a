"""A field of a record as the type it must have, or a `BadRecordError` that names field, value and what is allowed."""

import contextlib
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from memory import rules
from memory.importers.records import BadRecordError

# What the database columns hold; longer ids are replaced by their hash, longer labels are cut.
MAX_ID_LENGTH = 255
MAX_LABEL_LENGTH = 255

# A number above this is no time in seconds (it would lie after the year 5100), so the unit is a thousand times finer.
_SECONDS_LIMIT = 1e11
# The zero of the clocks of Go and .NET.
_NO_TIME_YEAR = 1
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_MAX_SHOWN = 60

_THUMBS = {"thumbsup": 1, "thumbup": 1, "up": 1, "1": 1, "thumbsdown": -1, "thumbdown": -1, "down": -1, "-1": -1}


def shown(value: object) -> str:
    """Return `value` as an error message quotes it: on one line, and short."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def storable(text: str) -> str:
    """Return `text` without what no database takes: NUL characters, and halves of surrogate pairs."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def plain(value: Any) -> Any:
    """Return a JSON value as one that any JSON column takes: no decimals, no NaN, storable text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {storable(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Decimal | float):
        return float(value) if math.isfinite(value) else None
    return value


def as_object(value: Any, field: str) -> Mapping[str, Any]:
    """Return `value`, which must be a JSON object."""
    if isinstance(value, Mapping):
        return value
    raise BadRecordError(f"{field}: got {shown(value)}, allowed an object")


def as_list(value: Any, field: str) -> list[Any]:
    """Return `value`, which must be a JSON array."""
    if isinstance(value, list):
        return value
    raise BadRecordError(f"{field}: got {shown(value)}, allowed a list")


def text(record: Mapping[str, Any], *names: str) -> str:
    """Return the first of the fields `names` that is there as text; empty if none is."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            return storable(value)
        raise BadRecordError(f"{name}: got {shown(value)}, allowed text")
    return ""


def label(record: Mapping[str, Any], *names: str) -> str:
    """Return the same as `text`, cut to the length of a column."""
    return text(record, *names)[:MAX_LABEL_LENGTH]


def identifier(record: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of the fields `names` that is there as an id (text or a whole number), or None."""
    for name in names:
        value = record.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return bounded_id(storable(str(value)))
        raise BadRecordError(f"{name}: got {shown(value)}, allowed text or a whole number")
    return None


def required_identifier(record: Mapping[str, Any], *names: str) -> str:
    """Return the same as `identifier`; its absence is a bad record."""
    found = identifier(record, *names)
    if found is None:
        raise BadRecordError(f"{' or '.join(names)}: missing")
    return found


def bounded_id(value: str) -> str:
    """Return `value`, or its hash where it is too long for a column."""
    if len(value) <= MAX_ID_LENGTH:
        return value
    return "sha256:" + hashlib.sha256(value.encode()).hexdigest()


def flag(record: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return a yes or no; `default` if it is absent or null."""
    value = record.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    raise BadRecordError(f"{name}: got {shown(value)}, allowed true or false")


def number(record: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number, or None if it is absent or null."""
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise BadRecordError(f"{name}: got {shown(value)}, allowed a finite number")


def unit_interval(record: Mapping[str, Any], name: str) -> float | None:
    """Return a number in [0, 1], or None if it is absent or null."""
    found = number(record, name)
    problem = rules.unit_interval_problem(name, found)
    if problem is not None:
        raise BadRecordError(problem)
    return found


def loss(record: Mapping[str, Any], name: str = "loss") -> float | None:
    """Return a loss in nats per token, 0 or more, or None if it is absent or null."""
    found = number(record, name)
    if found is not None and found < 0:
        raise BadRecordError(f"{name}: got {found!r}, allowed 0 or more")
    return found


def rating(record: Mapping[str, Any], name: str) -> int | None:
    """Return a thumb as 1 or -1, whatever its spelling (`thumbsUp`, `thumbs_up`, "1"), or None if there is none."""
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        found = _THUMBS.get(str(value).casefold().replace("_", "").replace(" ", "").removeprefix("+"))
        if found is not None:
            return found
    raise BadRecordError(f"{name}: got {shown(value)}, allowed 1, -1, thumbs_up or thumbs_down")


def moment(record: Mapping[str, Any], *names: str) -> datetime | None:
    """Return the first of the fields `names` that is there as a time in UTC, or None.

    Takes seconds or milliseconds since 1970 (as number or as digits) and ISO 8601 from 1970 on; without a zone it is
    UTC. The year 1, by which some programs say that there is none, is none.
    """
    for name in names:
        value = record.get(name)
        if value is None or value == "":
            continue
        try:
            found = _moment(value)
        except (ValueError, OverflowError, OSError, TypeError) as error:
            raise BadRecordError(
                f"{name}: got {shown(value)}, allowed seconds or milliseconds since 1970, or ISO 8601"
            ) from error
        if found is not None:
            return found
    return None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, str):
        return _written_moment(datetime.fromisoformat(value.strip()))
    seconds = float(value)
    if seconds < 0:
        raise ValueError
    while seconds > _SECONDS_LIMIT and math.isfinite(seconds):
        seconds /= 1000
    return datetime.fromtimestamp(seconds, tz=UTC)


def _written_moment(found: datetime) -> datetime | None:
    if found.year == _NO_TIME_YEAR:
        return None
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        # At the ends of the calendar a time has no equal in some zones, and no page could show it there.
        raise ValueError
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
