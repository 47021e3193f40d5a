"""What a person has seen of a pair, so that a decision on something else is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from django.db.models import Max

from memory.curation.editing import TYPED
from memory.curation.writing import TEXTS, database_of
from memory.models import TrainingPair


def state_of(pair: TrainingPair) -> str:
    """Return a short mark of the pair's present state, which any change that matters to a decision changes; one query.

    Training that uses the pair is no such change: the words and the decision on them stay.
    """
    return states_of([pair])[pair.pk]


def states_of(pairs: Sequence[TrainingPair]) -> Mapping[int, str]:
    """Return the marks of several pairs of one channel by key; one query, whatever the count."""
    if not pairs:
        return {}
    history = type(pairs[0]).history.using(database_of(pairs[0])).filter(id__in=[pair.pk for pair in pairs])
    newest = dict(history.order_by().values("id").annotate(newest=Max("history_id")).values_list("id", "newest"))
    return {pair.pk: _mark(pair, newest.get(pair.pk, 0)) for pair in pairs}


def _mark(pair: TrainingPair, newest: int) -> str:
    model = type(pair)
    # A night changes rows without writing their history.
    values = (
        newest,
        pair.content_hash,
        pair.merged_into_id,
        pair.archived_at and pair.archived_at.isoformat(),
        *[str(getattr(pair, name)) for name in TYPED[model] if name not in TEXTS[model]],
    )
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
