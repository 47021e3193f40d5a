"""What a person decides about proposals, with a line in the log of the admin for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from maintenance.models import Proposal
from maintenance.models.proposals import ProposalQuerySet
from memory import curation
from memory.curation.writing import lock_groups
from memory.models import PreferencePair, SftPair

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class UndecidableError(ValueError):
    """A proposal can no longer be accepted; says why."""


def accept(*, proposals: QuerySet[Proposal], user: User) -> int:
    """Let the newer pair of each open proposal stand for the older one; return how many there were.

    All of them or none. Where the newer pair is merged away by now, the pair that stands for it does.

    Raises:
        UndecidableError: the pair that would stand is rejected or archived by now, or it is the older one.

    """
    with transaction.atomic(using=proposals.db):
        found = _open(proposals)
        _lock_pairs(found, using=proposals.db)
        for proposal in found:
            try:
                _merge(proposal, user)
            except ValueError as error:
                raise UndecidableError(f"proposal {proposal.pk}: {error}") from error
        return _decide(found, Proposal.Status.ACCEPTED, user)


def dismiss(*, proposals: QuerySet[Proposal], user: User) -> int:
    """Let both pairs of each open proposal stand; return how many there were. It is never proposed again."""
    with transaction.atomic(using=proposals.db):
        return _decide(_open(proposals), Proposal.Status.DISMISSED, user)


def reopen(*, proposals: QuerySet[Proposal], user: User) -> int:
    """Let a person decide on `proposals` again; return how many were decided. Merged pairs stay as they are."""
    with transaction.atomic(using=proposals.db):
        found = list(_chosen(proposals).exclude(status=Proposal.Status.OPEN).order_by("pk").select_for_update())
        _log({proposal: f"reopened: was {proposal.status} by {_decider(proposal)}" for proposal in found}, user)
        _set(found, Proposal.Status.OPEN, None, None)
        return len(found)


def _chosen(proposals: QuerySet[Proposal]) -> ProposalQuerySet:
    # PostgreSQL locks no rows of an outer join, which the list page makes to show both pairs: hence the subquery.
    return Proposal.objects.using(proposals.db).filter(pk__in=proposals.order_by().values("pk"))


def _open(proposals: QuerySet[Proposal]) -> list[Proposal]:
    return list(_chosen(proposals).open().order_by("pk").select_for_update())


def _lock_pairs(proposals: list[Proposal], *, using: str) -> None:
    """Lock all pairs that accepting these locked `proposals` may change, or let stand for others."""
    for model, name in ((SftPair, "sft_pair"), (PreferencePair, "preference_pair")):
        if keys := set().union(*(proposal.pair_keys(name) for proposal in proposals)):
            lock_groups(model, keys, using=using)


def _merge(proposal: Proposal, user: User) -> None:
    if (sft := proposal.sft_pair) is not None:
        older = SftPair.objects.filter(proposals_against=proposal)
        curation.merge(pairs=older, into=sft.merged_into or sft, user=user)
    elif (preference := proposal.preference_pair) is not None:
        other = PreferencePair.objects.filter(proposals_against=proposal)
        curation.merge(pairs=other, into=preference.merged_into or preference, user=user)


def _decide(proposals: list[Proposal], status: Proposal.Status, user: User) -> int:
    _set(proposals, status, user, timezone.now())
    _log(dict.fromkeys(proposals, status.value), user)
    return len(proposals)


def _set(proposals: list[Proposal], status: Proposal.Status, user: User | None, moment: datetime | None) -> None:
    for proposal in proposals:
        proposal.status, proposal.decided_at, proposal.decided_by = status, moment, user
    Proposal.objects.bulk_update(proposals, ["status", "decided_at", "decided_by"])


def _decider(proposal: Proposal) -> str:
    return str(proposal.decided_by or "nobody in particular")


def _log(lines: Mapping[Proposal, str], user: User) -> None:
    proposals = ContentType.objects.get_for_model(Proposal)
    entries = [
        LogEntry(
            user=user,
            content_type=proposals,
            object_id=str(proposal.pk),
            object_repr=str(proposal)[:200],
            action_flag=CHANGE,
            change_message=line,
        )
        for proposal, line in lines.items()
    ]
    LogEntry.objects.bulk_create(entries)
