"""Pairs let go of one that may not be trained any more for where it was said, so that what they say still is."""

from __future__ import annotations

from django.db import models
from django.db.models import Exists, OuterRef, Q

from maintenance.journal import change_rows
from maintenance.night import ROWS_PER_TRANSACTION, Night
from memory.curation.consent import WITHHELD
from memory.curation.merging import merged_by_a_person
from memory.models import PreferencePair, ReviewStatus, SftPair


def release_pairs(night: Night, model: type[SftPair] | type[PreferencePair]) -> list[int]:
    """Let pairs stand for themselves whose survivor has lost its consent, or was deleted without; return their keys.

    Only those that may be trained themselves. What a person rejected or weighted to nothing is so for all that say the
    same, and what a person merged stays as that person said: none of them is released.
    """
    history: models.Manager[models.Model] = model.history.model._default_manager
    withheld = history.filter(id=OuterRef("merged_into"), history_change_reason=WITHHELD)
    # Without its conversation the rejection alone says that there was no consent.
    was_deleted = Q(merged_into__review_status=ReviewStatus.REJECTED) & Q(Exists(withheld))
    among = model.objects.using(night.using).worth_training()
    among = among.filter(Q(merged_into__conversation__training_allowed=False) | was_deleted, ~merged_by_a_person(model))
    keys = list(among.order_by("pk").values_list("pk", flat=True))
    released: list[int] = []
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        rows = [(key, None) for key in keys[start : start + ROWS_PER_TRANSACTION]]
        released += change_rows(night, ["merged_into_id"], rows, among=among)
    return released
