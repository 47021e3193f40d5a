"""A person's last decision on a pair, taken back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction

from memory.bulk import key_list
from memory.curation import edit_preferences
from memory.curation.decisions import change
from memory.curation.writing import database_of, lock, write
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import AS_FOUND, REASON_LENGTH, differing_columns
from memory.models import SftPair, TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

MERGED_INTO = "merged_into_id"
# What the history says where a decision was taken back: the record that is undone, and what it said.
_UNDONE = re.compile(r"took back record (\d+)")
# Who has changed a pair where the history has a record that is no decision.
_BY_MACHINE = {AS_FOUND: "training or a night", BY_EXTRACTION: "extraction"}


class UndoRefusedError(ValueError):
    """There is nothing that this person may take back; says why."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken back, in the history's words, and the columns that hold again what was there before."""

    what: str
    columns: tuple[str, ...]


class _Record(NamedTuple):
    """One record of the history without the state that it holds."""

    history_id: int
    kind: str
    reason: str
    user: int | None
    name: str | None
    date: datetime


def undo(*, pair: TrainingPair, user: User | AnonymousUser | None) -> Undone:
    """Take back the last decision on `pair`, which was `user`'s; a second undo takes back the one before.

    Whatever the decision changed is as it was: review, texts, merge with the pairs that went along, archive, use. The
    preference pair of an edit goes, unless training has used it or somebody has changed it.

    Raises:
        UndoRefusedError: there is no decision, it is another person's, or the pair was changed since.

    """
    using = database_of(pair)
    with transaction.atomic(using=using):
        stored = lock(pair)
        records = _records(stored)
        decision, before = _last_decision(stored, records)
        _refuse_others(stored, decision, user)
        wanted = {records[0].history_id, decision.history_id, before.history_id}
        states = {state.history_id: state for state in type(stored).history.using(using).filter(history_id__in=wanted)}
        if since := differing_columns(states[records[0].history_id], stored):
            raise UndoRefusedError(f"pair {stored.pk}: changed since by {_BY_MACHINE[AS_FOUND]} ({', '.join(since)})")
        columns = differing_columns(states[before.history_id], states[decision.history_id])
        values = {name: getattr(states[before.history_id], name) for name in columns}
        _restore(stored, values, decision, user=user)
        if MERGED_INTO in values:
            _restore_followers(stored, decision, getattr(states[decision.history_id], MERGED_INTO), user=user)
    for name, value in values.items():
        setattr(pair, name, value)
    return Undone(decision.reason or "edited", tuple(columns))


def undone_record(reason: str | None) -> int | None:
    """Return the record that a record with this `reason` took back, None where it took back none."""
    found = _UNDONE.match(reason or "")
    return int(found[1]) if found else None


def _records(pair: TrainingPair) -> list[_Record]:
    """Return the history of `pair`, newest first."""
    columns = ("history_id", "history_type", "history_change_reason", "history_user_id", "history_user__username")
    found = type(pair).history.using(database_of(pair)).filter(id=pair.pk).order_by("-history_id")
    return [
        _Record(key, kind, reason or "", *rest)
        for key, kind, reason, *rest in found.values_list(*columns, "history_date")
    ]


def _last_decision(pair: TrainingPair, records: Sequence[_Record]) -> tuple[_Record, _Record]:
    """Return the newest decision that is not taken back yet, and the record of the state before it."""
    undone: int | None = None
    machine = ""
    for place, record in enumerate(records[:-1]):
        if undone is not None:
            # What lies between has been taken back as well.
            undone = None if record.history_id == undone else undone
        elif record.reason in _BY_MACHINE:
            machine = machine or _BY_MACHINE[record.reason]
        elif (undone := undone_record(record.reason)) is not None:
            continue
        elif machine:
            raise UndoRefusedError(f"pair {pair.pk}: changed since by {machine}")
        else:
            return record, records[place + 1]
    raise UndoRefusedError(f"pair {pair.pk}: no decision to take back")


def _refuse_others(pair: TrainingPair, decision: _Record, user: User | AnonymousUser | None) -> None:
    if decision.user != (user.pk if user is not None else None):
        raise UndoRefusedError(
            f"pair {pair.pk}: last decided by {decision.name or 'nobody in particular'} "
            f"({decision.reason or 'edited'}), allowed is to take back one's own decision"
        )


def _restore(
    pair: TrainingPair, values: dict[str, Any], decision: _Record, *, user: User | AnonymousUser | None
) -> None:
    model, using = type(pair), database_of(pair)
    if (survivor := values.get(MERGED_INTO)) is not None:
        standing = model._default_manager.using(using).filter(pk=survivor, merged_into__isnull=True)
        if not standing.exists():
            raise UndoRefusedError(
                f"pair {pair.pk}: pair {survivor}, which stood for it before, is merged away itself, or gone"
            )
    former = getattr(pair, "response", "")
    reason = f"took back record {decision.history_id}: {decision.reason or 'edited'}"
    try:
        write(pair, values, user=user, reason=reason[:REASON_LENGTH])
    except ValidationError as error:
        raise UndoRefusedError(f"pair {pair.pk}: another pair has the texts that it had before") from error
    if isinstance(pair, SftPair) and "response" in values:
        edit_preferences.follow(pair, former=former, user=user)


def _restore_followers(
    pair: TrainingPair, decision: _Record, survivor: int | None, *, user: User | AnonymousUser | None
) -> None:
    """Let `pair` stand again for those that went along when it was merged into `survivor`, and are still there."""
    model, using = type(pair), database_of(pair)
    history = model.history.using(using)
    # One merge writes all its records by one statement.
    moved = history.filter(history_date=decision.date, history_change_reason=decision.reason).exclude(id=pair.pk)
    keys = key_list(list(moved.values_list("id", flat=True)), using=using)
    before: dict[int, int | None] = {}
    followers = []
    for key, merged_into, date, reason in (
        history.filter(id__in=keys, history_date__lte=decision.date)
        .order_by("id", "history_id")
        .values_list("id", MERGED_INTO, "history_date", "history_change_reason")
    ):
        if (date, reason) == (decision.date, decision.reason) and before.get(key) == pair.pk:
            followers.append(key)
        before[key] = merged_into
    pairs: Any = model._default_manager.using(using)
    change(
        pairs.filter(pk__in=key_list(followers, using=using), merged_into=survivor),
        {MERGED_INTO: pair.pk},
        user=user,
        reason=f"went back to {pair.pk}, whose merge was taken back",
    )
