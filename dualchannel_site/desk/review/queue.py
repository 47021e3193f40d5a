"""The order in which the pairs of a channel wait for a person.

Pending pairs that may be trained, in four groups: those of open proposals of the night, those that did not stick in
the last run, those whose answer a person flagged as needing care, and all others; within each the highest reward (or
margin) first, then the newest. The first three groups are read by index up to `GROUP_LIMIT` pairs each, the last one
in the order of its index: a fixed number of queries, none of which reads the whole table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.db.models import QuerySet

from dualchannel_site.desk.counting import count_up_to
from dualchannel_site.desk.review.channels import ReviewChannel
from maintenance.models import Proposal
from memory.models import PreferencePair, ReplayEntry, ReviewStatus, SftPair
from training.models import TrainingRun

# Pairs of each group in front that are looked at; what one person gets through in a morning is far below.
GROUP_LIMIT = 1000
# Pairs of the last group are counted up to here: "1,000+".
COUNT_LIMIT = 1000


class Group(Enum):
    """Why a pair waits where it does, in the order of the queue; the value is what the page says."""

    PROPOSED = "proposed by the night"
    UNLEARNED = "did not stick"
    FLAGGED = "flagged"
    OTHER = "waiting"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many pairs of a group wait; `is_more` where there are more than were counted."""

    group: Group
    count: int
    is_more: bool

    @property
    def shown(self) -> str:
        """The count as the page shows it: "12", or "1,000+"."""
        return f"{self.count:,}{'+' * self.is_more}"


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a channel at one moment: who is next, how many wait, and the groups of the pairs in front.

    `skipped` counts the pairs that wait and were left out.
    """

    next_pk: int | None
    waiting: Sequence[Waiting]
    groups: Mapping[int, Group]
    skipped: int


def load_queue(channel: ReviewChannel, *, skipped: Collection[int] = ()) -> Queue:
    """Return the queue without the `skipped` pairs; at most six queries, whatever the number of pairs."""
    members: dict[int, Group] = {}
    found: Mapping[Group, Sequence[int]] = {
        Group.PROPOSED: _proposed(channel),
        Group.UNLEARNED: _unlearned(channel),
        Group.FLAGGED: _flagged(channel),
    }
    for group, keys in found.items():
        for pk in keys:
            # A pair of two groups waits in the first.
            members.setdefault(pk, group)
    pending = _pending(channel)
    order = list(Group)
    front = sorted(
        _rows(channel, [*members, *skipped]),
        key=lambda row: (order.index(members.get(row[0], Group.OTHER)), -row[1], -row[0]),
    )
    ahead = [pk for pk, _score in front if pk in members and pk not in skipped]
    waiting_skipped = [pk for pk, _score in front if pk in skipped]
    # Few enough to be left out by name: both lists are bounded.
    others = pending.exclude(pk__in=[*ahead, *waiting_skipped])
    first = others.order_by(f"-{channel.score}", "-pk").values_list("pk", flat=True).first()
    waiting = [
        Waiting(group, sum(members[pk] is group for pk in ahead), len(keys) == GROUP_LIMIT)
        for group, keys in found.items()
    ]
    waiting.append(Waiting(Group.OTHER, *count_up_to(others, COUNT_LIMIT)))
    return Queue(next_pk=ahead[0] if ahead else first, waiting=waiting, groups=members, skipped=len(waiting_skipped))


def _pending(channel: ReviewChannel) -> QuerySet[Any]:
    return channel.model.objects.trainable().filter(review_status=ReviewStatus.PENDING)


def _rows(channel: ReviewChannel, keys: Sequence[int]) -> list[tuple[int, float]]:
    """Return those of `keys` that wait, each with its score."""
    # No equality on the status: without statistics SQLite would walk all pending pairs by its index.
    waiting = channel.model.objects.trainable().exclude(review_status=ReviewStatus.APPROVED).filter(pk__in=keys)
    return list(waiting.order_by().values_list("pk", channel.score))


def _proposed(channel: ReviewChannel) -> list[int]:
    """Return the newer pairs of open proposals, the newest proposals first."""
    proposals = Proposal.objects.open().filter(**{f"{channel.link}__isnull": False})
    return list(proposals.order_by("-pk").values_list(f"{channel.link}_id", flat=True)[:GROUP_LIMIT])


def _unlearned(channel: ReviewChannel) -> list[int]:
    """Return the pairs that the last successful run used without effect, the least moved first."""
    runs = TrainingRun.objects.successful().order_by("-pk")
    left = runs.values_list(f"evaluation__did_not_stick__{channel.plan_channel}", flat=True).first()
    return list(left or ())[:GROUP_LIMIT]


def _flagged(channel: ReviewChannel) -> list[int]:
    """Return the pairs whose answer has a flag in the replay buffer."""
    messages = ReplayEntry.objects.exclude(safety_flags=[]).filter(message__isnull=False)
    flagged = messages.order_by("-message").values("message")[:GROUP_LIMIT]
    if channel.model is SftPair:
        found = SftPair.objects.filter(assistant_message__in=flagged).values_list("pk", flat=True)
        return list(found.order_by()[:GROUP_LIMIT])
    # A union rather than an OR, for which PostgreSQL would walk the whole table.
    chosen, rejected = (
        PreferencePair.objects.filter(**{f"{side}_message__in": flagged}).order_by().values_list("pk", flat=True)
        for side in ("chosen", "rejected")
    )
    return list(chosen.union(rejected)[:GROUP_LIMIT])
