"""What a person may decide about pairs: approve, reject, put back to pending, emit again.

Each function takes a queryset of pairs of one channel and changes all of them or none; pairs that are already as
wanted are left alone. The change and the person go into the history of each pair, together with the state before
it where none is on record. Four queries, whatever the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import transaction
from django.db.models import QuerySet

from memory.bulk import key_list
from memory.history import keep_originals, record
from memory.models import ReviewStatus, TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)


def approve(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Mark `pairs` as checked and good; return how many were not so before."""
    return _review(pairs, ReviewStatus.APPROVED, user=user, reason="approved")


def reject(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Keep `pairs` out of training; return how many were not so before."""
    return _review(pairs, ReviewStatus.REJECTED, user=user, reason="rejected")


def reopen(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Put `pairs` back to pending, as if nobody had decided yet; return how many were not so before."""
    return _review(pairs, ReviewStatus.PENDING, user=user, reason="put back to pending")


def reemit(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Offer used `pairs` to training again; return how many were used.

    Only `is_used` is cleared: time and epoch of the last use stay, and so does the ledger of all uses.
    """
    return _change(pairs.filter(is_used=True), {"is_used": False}, user=user, reason="re-emitted")


def _review(pairs: QuerySet[PairT], status: ReviewStatus, *, user: User | AnonymousUser | None, reason: str) -> int:
    return _change(pairs.exclude(review_status=status), {"review_status": status}, user=user, reason=reason)


def _change(
    pairs: QuerySet[PairT], values: dict[str, object], *, user: User | AnonymousUser | None, reason: str
) -> int:
    model, alias = pairs.model, pairs.db
    with transaction.atomic(using=alias):
        # PostgreSQL locks no rows of an outer join, which a search across tables makes: hence the subquery.
        chosen = model._default_manager.using(alias).filter(pk__in=pairs.order_by().values("pk"))
        ids = list(chosen.order_by("pk").select_for_update().values_list("pk", flat=True))
        changing = model._default_manager.using(alias).filter(pk__in=key_list(ids, using=alias))
        keep_originals(changing)
        changing.update(**values)
        return record(changing, kind="~", user=user, reason=reason)
