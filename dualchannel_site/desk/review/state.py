"""What a person has seen of a pair, so that a decision on something else is noticed."""

from __future__ import annotations

import hashlib

from django.db.models import Max

from memory.models import TrainingPair


def state_of(pair: TrainingPair) -> str:
    """Return a short mark of the pair's present state, which any change that matters to a decision changes; one query.

    Training that uses the pair is no such change: the words and the decision on them stay.
    """
    newest = type(pair).history.filter(id=pair.pk).aggregate(newest=Max("history_id"))["newest"] or 0
    # A night changes rows without writing their history.
    values = (
        newest,
        pair.content_hash,
        str(pair.review_status),
        pair.merged_into_id,
        pair.archived_at and pair.archived_at.isoformat(),
        float(pair.sampling_weight),
    )
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
