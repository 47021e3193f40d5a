"""What a person may decide about pairs: approve, reject, put back to pending, emit again, unarchive, merge.

Each function takes a queryset of pairs of one channel and changes all of them or none; pairs that are already as
wanted are left alone. The change and the person go into the history of each pair, together with the state before
it where none is on record. Four queries, whatever the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet

from memory.bulk import key_list
from memory.history import keep_originals, record
from memory.models import ReviewStatus, TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)

# The reason in the history by which a later night knows that a person wanted a pair back.
UNARCHIVED = "taken out of the archive"


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


def unarchive(*, pairs: QuerySet[PairT], user: User | AnonymousUser | None) -> int:
    """Put archived `pairs` back where they were; return how many were archived.

    No age and no number of uses archives them again: the record of it in their history protects them.
    """
    return _change(pairs.filter(archived_at__isnull=False), {"archived_at": None}, user=user, reason=UNARCHIVED)


def merge(*, pairs: QuerySet[PairT], into: PairT, user: User | AnonymousUser | None) -> int:
    """Let `into` stand for `pairs`, which are no longer trained; return how many were not merged into it before.

    Pairs that one of them stood for go along, so that no chain is longer than one.

    Raises:
        ValueError: `into` cannot stand for others: it is one of `pairs`, rejected, archived or merged away itself.

    """
    model, alias = pairs.model, pairs.db
    everything = model._default_manager.using(alias)
    with transaction.atomic(using=alias):
        survivor = everything.select_for_update().get(pk=into.pk)
        if reason := _unfit(survivor):
            raise ValueError(f"got pair {survivor.pk}, which is {reason}; allowed a pair that may be trained")
        chosen = list(pairs.order_by().values_list("pk", flat=True))
        if survivor.pk in chosen:
            raise ValueError(f"got pair {survivor.pk} to be merged into itself, allowed another pair")
        group = Q(pk__in=key_list(chosen, using=alias)) | Q(merged_into__in=key_list(chosen, using=alias))
        moving = everything.filter(group).exclude(merged_into=survivor.pk)
        return _change(moving, {"merged_into": survivor.pk}, user=user, reason=f"merged into {survivor.pk}")


def _unfit(pair: TrainingPair) -> str:
    """Return why a pair cannot stand for others; empty where it can."""
    if pair.review_status == ReviewStatus.REJECTED:
        return "rejected"
    if pair.archived_at is not None:
        return "archived"
    return "merged into another" if pair.merged_into_id is not None else ""


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
