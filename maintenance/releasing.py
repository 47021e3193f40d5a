"""Pairs let go of one that may not be trained any more for where it was said, so that what they say still is."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q

from maintenance.journal import change_rows
from maintenance.night import ROWS_PER_TRANSACTION, Night
from memory.curation.consent import WITHHELD
from memory.curation.merging import merged_by_a_person
from memory.models import Conversation, PreferencePair, ReviewStatus, SftPair


def release_pairs(night: Night, model: type[SftPair] | type[PreferencePair]) -> list[int]:
    """Let pairs stand for themselves whose survivor has lost its consent, or was deleted without; return their keys.

    Only those that may be trained themselves. What a person rejected or weighted to nothing is so for all that say the
    same, and what a person merged stays as that person said: none of them is released.
    """
    behind = _behind_one_without_consent(model)
    among = model.objects.using(night.using).filter(pk__in=behind, merged_into__sampling_weight__gt=0)
    if model is SftPair:
        among = among.filter(merged_into__reward_intensity__gt=0)
    among = among.worth_training()
    keys = sorted(among.order_by().values_list("pk", flat=True))
    # Only for those few: the history is looked up pair by pair.
    among = among.filter(~merged_by_a_person(model))
    released: list[int] = []
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        rows = [(key, None) for key in keys[start : start + ROWS_PER_TRANSACTION]]
        released += change_rows(night, ["merged_into_id"], rows, among=among)
    return released


def _behind_one_without_consent(model: type[SftPair] | type[PreferencePair]) -> models.QuerySet[Any, Any]:
    """Return the keys of pairs whose survivor lacks consent and was rejected by no person; indexes hold all of it."""
    without = Conversation.objects.filter(training_allowed=False)
    lost = model.objects.filter(conversation__in=without).exclude(review_status=ReviewStatus.REJECTED)
    history: models.Manager[models.Model] = model.history.model._default_manager
    withheld = history.filter(id=OuterRef("pk"), history_change_reason=WITHHELD)
    # Without its conversation the rejection alone says that there was no consent.
    deleted = model.objects.filter(Exists(withheld), review_status=ReviewStatus.REJECTED)
    behind = model.objects.filter(Q(merged_into__in=lost.values("pk")) | Q(merged_into__in=deleted.values("pk")))
    return behind.order_by().values("pk")
