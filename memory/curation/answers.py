"""What a person may say about the two answers of a preference pair: it is the other way round, or neither is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from memory.curation.writing import database_of, lock, write
from memory.models import PreferencePair, ReviewStatus

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# What the history says of a tie.
TIED = "tie: neither answer is better"


def swap(*, pair: PreferencePair, user: User | AnonymousUser | None) -> None:
    """Let the rejected answer be the chosen one, and the reverse; the pair is approved by that.

    The margin stays: how much better is a guess either way. The pair as it is now was never trained, so that it counts
    as unused.

    Raises:
        ValidationError: the pair is stored the other way round already.

    """
    with transaction.atomic(using=database_of(pair)):
        stored = lock(pair)
        stored.chosen, stored.rejected = stored.rejected, stored.chosen
        stored.clean()
        values = {
            "chosen": stored.chosen,
            "rejected": stored.rejected,
            "chosen_message_id": stored.rejected_message_id,
            "rejected_message_id": stored.chosen_message_id,
            "content_hash": stored.content_hash,
            "review_status": ReviewStatus.APPROVED.value,
            "is_used": False,
        }
        write(stored, values, user=user, reason="swapped")
    for name, value in values.items():
        setattr(pair, name, value)


def tie(*, pair: PreferencePair, user: User | AnonymousUser | None) -> int:
    """Say that neither answer is better, which takes the pair out of training; return 0 where it was a tie already.

    A tie is a rejection with a reason of its own, also where the pair was rejected for another one: the pair stays, so
    that extraction does not make it again, and `undo` or an approval brings it back.
    """
    with transaction.atomic(using=database_of(pair)):
        stored = lock(pair)
        newest = PreferencePair.history.using(database_of(pair)).filter(id=pair.pk).order_by("-history_id").first()
        is_tie = newest is not None and newest.history_change_reason == TIED
        if is_tie and stored.review_status == ReviewStatus.REJECTED:
            return 0
        write(stored, {"review_status": ReviewStatus.REJECTED.value}, user=user, reason=TIED)
    pair.review_status = stored.review_status
    return 1
