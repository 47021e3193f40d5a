"""A person's last decision on a pair, taken back."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import CharField, Expression, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat, Substr

from memory.bulk import key_list
from memory.curation import edit_preferences
from memory.curation.decisions import change
from memory.curation.writing import database_of, lock, lock_groups, write
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import AS_FOUND, REASON_LENGTH, differing_columns
from memory.models import TrainingPair

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
    """What was taken back: its record, the history's words, the columns that hold again what was there before."""

    record: int
    what: str
    columns: tuple[str, ...]


class _Record(NamedTuple):
    """One record of the history without the state that it holds."""

    history_id: int
    reason: str
    user: int | None
    name: str | None
    date: datetime
    merged_into: int | None


def undo(*, pair: TrainingPair, user: User | AnonymousUser | None, expected: int | None = None) -> Undone:
    """Take back the last decision on `pair`, which was `user`'s; a second undo takes back the one before.

    With `expected`, the record of a decision in the history, no other decision is taken back.

    Whatever the decision changed is as it was: review, texts, merge with the pairs that went along, archive, use. The
    preference pair of an edit goes, unless training has used it or somebody has changed it.

    Raises:
        UndoRefusedError: there is no decision, it is another person's or not the expected one, or the pair was changed
            since.

    """
    using = database_of(pair)
    with transaction.atomic(using=using):
        # Those to put back beside the pair are among them.
        lock_groups(type(pair), [pair.pk], using=using)
        stored = lock(pair)
        decision, merged_into, values = _takeable(stored, user, expected=expected)
        _restore(stored, values, decision, user=user)
        if MERGED_INTO in values:
            _restore_followers(stored, decision, merged_into, user=user)
    for name, value in values.items():
        setattr(pair, name, value)
    return Undone(decision.history_id, decision.reason or "edited", tuple(values))


def can_undo(*, pair: TrainingPair, user: User | AnonymousUser | None) -> bool:
    """Return whether `undo` finds a decision on `pair` that `user` may take back; two queries, one more for a merge."""
    try:
        _takeable(pair, user)
    except UndoRefusedError:
        return False
    return True


def taken_back(records: QuerySet[Any], what: str) -> Expression:
    """Return what the history says of each pair of many whose record is undone, which said `what`.

    `records` selects the key of that record, for the pair that the outer query names.
    """
    key = Cast(Subquery(records[:1]), CharField())
    return Substr(
        Concat(Value("took back record "), key, Value(f": {what}"), output_field=CharField()), 1, REASON_LENGTH
    )


def undone_record(reason: str | None) -> int | None:
    """Return the record that a record with this `reason` took back, None where it took back none."""
    found = _UNDONE.match(reason or "")
    return int(found[1]) if found else None


def _takeable(
    stored: TrainingPair, user: User | AnonymousUser | None, *, expected: int | None = None
) -> tuple[_Record, int | None, dict[str, Any]]:
    """Return the decision that `user` may take back, what it merged the pair into, and the columns before it.

    Raises:
        UndoRefusedError: see `undo`.

    """
    using = database_of(stored)
    records = _records(type(stored), [stored.pk], using=using)[stored.pk]
    if expected is not None and any(undone_record(each.reason) == expected for each in records):
        raise UndoRefusedError(f"pair {stored.pk}: that decision is taken back already")
    decision, before = _last_decision(stored, records)
    _refuse_others(stored, decision, user)
    if expected not in (None, decision.history_id):
        raise UndoRefusedError(
            f"pair {stored.pk}: decided on again since ({decision.reason or 'edited'}), "
            "allowed is to take back the last decision"
        )
    wanted = {records[0].history_id, decision.history_id, before.history_id}
    states = {state.history_id: state for state in type(stored).history.using(using).filter(history_id__in=wanted)}
    if since := differing_columns(states[records[0].history_id], stored):
        raise UndoRefusedError(f"pair {stored.pk}: changed since by {_BY_MACHINE[AS_FOUND]} ({', '.join(since)})")
    columns = differing_columns(states[before.history_id], states[decision.history_id])
    values = {name: getattr(states[before.history_id], name) for name in columns}
    if (survivor := values.get(MERGED_INTO)) is not None:
        _refuse_merged_away(stored, survivor)
    return decision, getattr(states[decision.history_id], MERGED_INTO), values


def _records(model: type[TrainingPair], keys: Sequence[int], *, using: str) -> Mapping[int, Sequence[_Record]]:
    """Return the histories of pairs by key, each newest first."""
    columns = ("history_id", "history_change_reason", "history_user_id", "history_user__username")
    found = model.history.using(using).filter(id__in=key_list(keys, using=using)).order_by("-history_id")
    histories: dict[int, list[_Record]] = {key: [] for key in keys}
    for pk, key, reason, *rest in found.values_list("id", *columns, "history_date", MERGED_INTO):
        histories[pk].append(_Record(key, reason or "", *rest))
    return histories


def _standing(records: Sequence[_Record]) -> Iterator[tuple[int, _Record]]:
    """Yield the places of those `records`, newest first, that are neither an undo nor undone.

    What a person has undone need not be the newest: those that went along with a merge go back with it, whatever was
    decided about them since.
    """
    undone = set()
    for place, record in enumerate(records):
        if (key := undone_record(record.reason)) is not None:
            undone.add(key)
        elif record.history_id not in undone:
            yield place, record


def _last_decision(pair: TrainingPair, records: Sequence[_Record]) -> tuple[_Record, _Record]:
    """Return the newest decision that is not taken back yet, and the record of the state before it."""
    machine = ""
    # The oldest one is the first state, which nobody decided.
    for place, record in _standing(records[:-1]):
        if record.reason in _BY_MACHINE:
            machine = machine or _BY_MACHINE[record.reason]
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


def _refuse_merged_away(pair: TrainingPair, survivor: int) -> None:
    pairs = type(pair)._default_manager.using(database_of(pair))
    if not pairs.filter(pk=survivor, merged_into__isnull=True).exists():
        raise UndoRefusedError(
            f"pair {pair.pk}: pair {survivor}, which stood for it before, is merged away itself, or gone"
        )


def _restore(
    pair: TrainingPair, values: dict[str, Any], decision: _Record, *, user: User | AnonymousUser | None
) -> None:
    former = copy.copy(pair)
    reason = f"took back record {decision.history_id}: {decision.reason or 'edited'}"
    try:
        write(pair, values, user=user, reason=reason[:REASON_LENGTH])
    except ValidationError as error:
        raise UndoRefusedError(f"pair {pair.pk}: another pair has the texts that it had before") from error
    edit_preferences.follow(pair, former=former, user=user)


def _restore_followers(
    pair: TrainingPair, decision: _Record, survivor: int | None, *, user: User | AnonymousUser | None
) -> None:
    """Let `pair` stand again for those that went along to `survivor` with it, and were not merged elsewhere since."""
    model, using = type(pair), database_of(pair)
    history = model.history.using(using)
    # One merge writes all its records by one statement.
    together = history.filter(history_date=decision.date, history_change_reason=decision.reason).exclude(id=pair.pk)
    histories = _records(model, list(together.values_list("id", flat=True)), using=using)
    keys = [key for key, records in histories.items() if _went_along(records, decision, pair)]
    pairs: Any = model._default_manager.using(using)
    change(
        pairs.filter(pk__in=key_list(keys, using=using), merged_into=survivor),
        {MERGED_INTO: pair.pk},
        user=user,
        reason=taken_back(together.filter(id=OuterRef("pk")).values("history_id"), decision.reason),
    )


def _went_along(records: Sequence[_Record], decision: _Record, pair: TrainingPair) -> bool:
    """Return whether the last merge in a history that still stands is `decision`, which took it away from `pair`."""
    for place, record in _standing(records[:-1]):
        before = records[place + 1].merged_into
        if record.merged_into != before:
            return (record.date, record.reason, before) == (decision.date, decision.reason, pair.pk)
    return False
