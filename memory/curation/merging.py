"""Pairs merged by a person: one stands for others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from django.db import transaction
from django.db.models import CharField, Exists, Manager, Model, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat

from memory.bulk import key_list
from memory.curation.decisions import change
from memory.curation.writing import lock_groups
from memory.models import ReviewStatus, TrainingPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)

_MERGED_INTO = "merged into"


def merge(*, pairs: QuerySet[PairT], into: PairT, user: User | AnonymousUser | None) -> int:
    """Let `into` stand for `pairs`, which are no longer trained; return how many were not merged into it before.

    Pairs that one of them stood for go along, so that no chain is longer than one.

    Raises:
        ValueError: `into` cannot stand for others: it is one of `pairs`, rejected, archived or merged away itself.

    """
    model, alias = pairs.model, pairs.db
    everything = model._default_manager.using(alias)
    with transaction.atomic(using=alias):
        chosen = list(pairs.order_by().values_list("pk", flat=True))
        lock_groups(model, [*chosen, into.pk], using=alias)
        survivor = everything.get(pk=into.pk)
        if reason := why_unfit(survivor):
            raise ValueError(f"got pair {survivor.pk}, which is {reason}; allowed a pair that may be trained")
        if survivor.pk in chosen:
            raise ValueError(f"got pair {survivor.pk} to be merged into itself, allowed another pair")
        group = Q(pk__in=key_list(chosen, using=alias)) | Q(merged_into__in=key_list(chosen, using=alias))
        moving = everything.filter(group).exclude(merged_into=survivor.pk)
        return change(moving, {"merged_into": survivor.pk}, user=user, reason=merge_reason(survivor.pk))


def merge_reason(survivor: int) -> str:
    """Return what the history says of a pair that `survivor` has come to stand for."""
    return f"{_MERGED_INTO} {survivor}"


def merged_by_a_person(model: type[TrainingPair]) -> Exists:
    """Return the condition of a query on `model` that a person, no night, merged the pair and did not take it back."""
    history: Manager[Model] = model.history.model._default_manager
    of_it = Concat(Value("took back record "), Cast(OuterRef("history_id"), CharField()), Value(":"))
    taken_back = history.filter(id=OuterRef("id"), history_change_reason__startswith=of_it)
    merged = history.filter(id=OuterRef("pk"), history_change_reason__startswith=_MERGED_INTO)
    return Exists(merged.filter(~Exists(taken_back)))


def why_unfit(pair: TrainingPair) -> str:
    """Return why a pair cannot stand for others; empty where it can."""
    if pair.review_status == ReviewStatus.REJECTED:
        return "rejected"
    if pair.archived_at is not None:
        return "archived"
    return "merged into another" if pair.merged_into_id is not None else ""
