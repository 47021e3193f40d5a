"""Texts of one pair corrected by a person; the answer as it was is kept, and becomes the worse one of a preference."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import transaction

from memory.curation import edit_preferences
from memory.curation.writing import TEXTS, database_of, lock, write
from memory.models import PreferencePair, ReviewStatus, SftPair, TrainingPair
from memory.text import trimmed

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# The texts of which one is corrected at a time, those first that are corrected most.
EDITABLE: Mapping[type[TrainingPair], tuple[str, ...]] = {
    SftPair: ("response", "instruction"),
    PreferencePair: ("chosen", "rejected"),
}
# All that a form may offer to people; the rest is written by the machine or by decisions.
TYPED: Mapping[type[TrainingPair], tuple[str, ...]] = {
    SftPair: (
        *TEXTS[SftPair],
        *("category", "confidence", "reward_intensity", "sampling_weight", "review_status"),
    ),
    PreferencePair: (*TEXTS[PreferencePair], "confidence", "sampling_weight", "review_status"),
}


@dataclass(frozen=True, slots=True)
class Edited:
    """What came of an edit: the columns that changed, and the key of the preference pair that it made, if it did."""

    columns: tuple[str, ...]
    preference: int | None = None


def edit(*, pair: TrainingPair, field: str, text: str, user: User | AnonymousUser | None) -> Edited:
    """Let `text` be a text of `pair`, which is approved by that; nothing changes where it is the text already.

    `field` is `instruction` or `response` of a memory pair, `chosen` or `rejected` of a preference pair. The pair as it
    is now was never trained: it counts as unused, while the ledger keeps the use of what it was. A response or a
    chosen answer that was edited is preferred over the original by a preference pair (`edit_preferences`).

    Raises:
        ValidationError: the field is none of these, or the text breaks a rule.

    """
    allowed = EDITABLE[type(pair)]
    if field not in allowed:
        raise ValidationError(f"field: got {field!r}, allowed {', '.join(allowed)}")
    if "\0" in text:
        raise ValidationError(f"{field}: got a NUL character, allowed text without")
    with transaction.atomic(using=database_of(pair)):
        stored = lock(pair)
        text = _typed(text, getattr(stored, field))
        if text == getattr(stored, field):
            return Edited(())
        changed = {field: text, "review_status": ReviewStatus.APPROVED.value}
        return _store(pair, stored, changed, user=user, reason=f"edited {field}")


def save(*, pair: TrainingPair, user: User | AnonymousUser | None, reason: str = "edited") -> Edited:
    """Store what a person changed in `pair` by a form: texts, scores and review; what the machine wrote stays.

    As with `edit`, a new text makes the pair unused and drops its vector, and a new response or chosen answer makes a
    preference pair; the review status is the form's.

    Raises:
        ValidationError: the pair breaks a rule.

    """
    with transaction.atomic(using=database_of(pair)):
        stored = lock(pair)
        typed = {name: _typed(getattr(pair, name), getattr(stored, name)) for name in TYPED[type(pair)]}
        return _store(pair, stored, typed, user=user, reason=reason)


def _typed(value: Any, stored: Any) -> Any:
    """Return what was typed, without a browser's CRLF at line breaks; what is stored where it is the same."""
    if not isinstance(value, str):
        return value
    value = _lines(value)
    return stored if trimmed(value) == _lines(stored) else value


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _store(
    pair: TrainingPair,
    stored: TrainingPair,
    typed: Mapping[str, Any],
    *,
    user: User | AnonymousUser | None,
    reason: str,
) -> Edited:
    former = copy.copy(stored)
    for name, value in typed.items():
        setattr(stored, name, value)
    stored.clean()
    values = {name: getattr(stored, name) for name in typed if getattr(stored, name) != getattr(former, name)}
    if not values:
        return Edited(())
    columns = tuple(values)
    if not values.keys().isdisjoint(TEXTS[type(stored)]):
        values |= {"content_hash": stored.content_hash, "is_used": False}
    write(stored, values, user=user, reason=reason)
    preference = edit_preferences.follow(stored, former=former, user=user)
    for name in (*typed, *values):
        setattr(pair, name, getattr(stored, name))
    return Edited(columns, preference)
