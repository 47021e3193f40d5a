"""The rules that no stored pair may break, as constants for constraints and as checks with a clear message.

The database holds every rule a second time, as a named constraint (`memory/models/pairs.py`).
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

MIN_INSTRUCTION_LENGTH = 2
MIN_RESPONSE_LENGTH = 2

MAX_FLAG_LENGTH = 64

MESSAGE_ROLES = ("system", "user", "assistant", "tool")

# Cosine above which two drafts of one user turn count as the same answer.
DRAFT_SIMILARITY_THRESHOLD = 0.92

DEFAULT_REWARD_INTENSITY = 0.5
REWARD_OF_RATING = {1: 1.0, -1: 0.0}

# How much less often an introspection pair is drawn than one of dialogue.
INTROSPECTION_SAMPLING_WEIGHT = 0.25

# What JSON columns take.
_STORABLE = "allowed finite numbers, and text without NUL and without halves of surrogate pairs"


def length_problem(field: str, text: str, *, minimum: int) -> str | None:
    """Return what is wrong with the length of `text` in characters, or None."""
    if len(text) >= minimum:
        return None
    return f"{field}: got {len(text)} characters, allowed {minimum} or more"


def unit_interval_problem(field: str, value: float | None) -> str | None:
    """Return what is wrong with a number that must lie in [0, 1], or None; a missing number is no problem."""
    if value is None or 0.0 <= value <= 1.0:
        return None
    return f"{field}: got {value!r}, allowed 0 to 1"


def choice_problem(field: str, value: str, *, allowed: Collection[str]) -> str | None:
    """Return what is wrong with a value that must be one of `allowed`, or None."""
    if value in allowed:
        return None
    return f"{field}: got {value!r}, allowed {', '.join(allowed)}"


def not_negative_problem(field: str, value: float | None) -> str | None:
    """Return what is wrong with a number that must be 0 or more, or None; a missing number is no problem."""
    if value is None or value >= 0:
        return None
    return f"{field}: got {value!r}, allowed 0 or more"


def messages_problem(field: str, value: Any, *, minimum: int) -> str | None:
    """Return what is wrong with a list of messages, each a mapping of a known role and a text, or None."""
    if not isinstance(value, list | tuple) or len(value) < minimum:
        return f"{field}: got {_shortened(value)}, allowed a list of {minimum} or more messages"
    for place, message in enumerate(value):
        if not (
            isinstance(message, Mapping)
            and message.get("role") in MESSAGE_ROLES
            and isinstance(message.get("content"), str)
        ):
            roles = ", ".join(MESSAGE_ROLES)
            return (
                f"{field}: got {_shortened(message)} at place {place}, "
                f"allowed a message of role ({roles}) and content (text)"
            )
        if not _is_storable(message):
            return f"{field}: got {_shortened(message)} at place {place}, {_STORABLE}"
    return None


def flags_problem(field: str, value: Any) -> str | None:
    """Return what is wrong with a list of short words, or None."""
    if not isinstance(value, list) or not all(
        isinstance(flag, str) and 0 < len(flag) <= MAX_FLAG_LENGTH for flag in value
    ):
        return f"{field}: got {_shortened(value)}, allowed a list of words of 1 to {MAX_FLAG_LENGTH} characters"
    return None if _is_storable(value) else f"{field}: got {_shortened(value)}, {_STORABLE}"


def _is_storable(value: Any) -> bool:
    """Return whether a JSON column of any database takes `value`."""
    if isinstance(value, str):
        # Only halves of surrogate pairs have no bytes; looking for them by a pattern is slow.
        return "\0" not in value and (value.isascii() or len(value.encode(errors="ignore").decode()) == len(value))
    if isinstance(value, Mapping):
        return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_storable, value))
    return not isinstance(value, float) or math.isfinite(value)


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def reward_of(*, logged: float | None, rating: int | None) -> float:
    """Return the reward intensity in [0, 1] of a message.

    A logged value wins; else a thumb up is 1, a thumb down 0, and no rating 0.5.
    """
    if logged is not None:
        return logged
    if rating is not None:
        return REWARD_OF_RATING[rating]
    return DEFAULT_REWARD_INTENSITY
