"""Decisions on many pairs at once: approve, reject, put back to pending, emit again, unarchive.

Each function takes a queryset of pairs of one channel and changes all of them or none; pairs that are already as
wanted are left alone. Four queries, whatever the count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Expression, Q, QuerySet

from memory.bulk import key_list
from memory.history import REASON_LENGTH, keep_states, record
from memory.models import ReviewStatus, TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)

# The reason in the history by which a later night knows that a person wanted a pair back.
UNARCHIVED = "taken out of the archive"
REEMITTED = "re-emitted"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a decision sets, on which pairs that changes anything, and what their history says of it."""

    values: Mapping[str, Any]
    changes: Q
    reason: str


def _review(status: ReviewStatus, reason: str) -> Decision:
    return Decision({"review_status": status}, ~Q(review_status=status), reason)


APPROVE = _review(ReviewStatus.APPROVED, "approved")
REJECT = _review(ReviewStatus.REJECTED, "rejected")
REOPEN = _review(ReviewStatus.PENDING, "put back to pending")
REEMIT = Decision({"is_used": False}, Q(is_used=True), REEMITTED)
UNARCHIVE = Decision({"archived_at": None}, Q(archived_at__isnull=False), UNARCHIVED)


def approve(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Mark `pairs` as checked and good; return how many were not so before."""
    return _decide(APPROVE, pairs, user=user)


def reject(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Keep `pairs` out of training; return how many were not so before."""
    return _decide(REJECT, pairs, user=user)


def reopen(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Put `pairs` back to pending, as if nobody had decided yet; return how many were not so before."""
    return _decide(REOPEN, pairs, user=user)


def reemit(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None, reason: str = "") -> int:
    """Offer used `pairs` to training again; return how many were used.

    Only `is_used` is cleared: time and epoch of the last use stay, and so does the ledger of all uses. `reason` is what
    the person says why, of which the history has room for 88 characters.

    Raises:
        ValidationError: the reason is longer.

    """
    return _decide(REEMIT, pairs, user=user, reason=reemission_reason(reason))


def reemission_reason(reason: str) -> str:
    """Return what the history says of a re-emission for that `reason`.

    Raises:
        ValidationError: there is no room for it.

    """
    said = " ".join(reason.replace("\0", " ").split())
    if not said:
        return REEMITTED
    room = REASON_LENGTH - len(f"{REEMITTED}: ")
    if len(said) > room:
        raise ValidationError(f"reason: got {len(said)} characters, allowed {room} or less")
    return f"{REEMITTED}: {said}"


def unarchive(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Put archived `pairs` back where they were; return how many were archived.

    No age and no number of uses archives them again: the record of it in their history protects them.
    """
    return _decide(UNARCHIVE, pairs, user=user)


def change(
    pairs: QuerySet[PairT],
    values: Mapping[str, Any],
    *,
    user: User | AnonymousUser | None,
    reason: str | Expression,
) -> int:
    """Set columns of all `pairs`, with the state before and who changed it on record; return how many there were."""
    model, alias = pairs.model, pairs.db
    with transaction.atomic(using=alias):
        # PostgreSQL locks no rows of an outer join, which a search across tables makes: hence the subquery.
        chosen = model._default_manager.using(alias).filter(pk__in=pairs.order_by().values("pk"))
        ids = list(chosen.order_by("pk").select_for_update().values_list("pk", flat=True))
        changing = model._default_manager.using(alias).filter(pk__in=key_list(ids, using=alias))
        keep_states(changing)
        changing.update(**values)
        return record(changing, kind="~", user=user, reason=reason)


def _decide(decision: Decision, pairs: QuerySet[PairT], *, user: User | AnonymousUser | None, reason: str = "") -> int:
    return change(pairs.filter(decision.changes), decision.values, user=user, reason=reason or decision.reason)
