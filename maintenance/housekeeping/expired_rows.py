"""Rows that have outlived their use: journals of nights long past, histories of deleted pairs, ended sessions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.db.models import Exists, OuterRef

from maintenance.models import MaintenanceRun, RowChange
from maintenance.night import ROWS_PER_TRANSACTION
from memory.bulk import key_list
from memory.models import PreferencePair, SftPair


def delete_old_changes(*, keep_days: int, now: datetime, using: str) -> int:
    """Delete the journal of the nights that began more than `keep_days` before `now`; return how many rows."""
    nights = MaintenanceRun.objects.using(using).filter(started_at__lt=now - timedelta(days=keep_days))
    deleted = 0
    for night in nights.order_by("pk").values_list("pk", flat=True):
        deleted += _delete(RowChange.objects.using(using).filter(run=night), using=using)
    return deleted


def delete_old_histories(*, keep_days: int, now: datetime, using: str) -> int:
    """Delete the history of pairs that a person deleted more than `keep_days` before `now`; return how many records.

    A pair that an export took out of the database was not deleted by a person: its history stays with its restoration.
    """
    before = now - timedelta(days=keep_days)
    return sum(_delete_histories(model, before, using=using) for model in (SftPair, PreferencePair))


def delete_ended_sessions(*, now: datetime, using: str) -> int:
    """Delete the sessions of the admin that ended before `now`; return how many."""
    return _delete(Session.objects.using(using).filter(expire_date__lt=now), using=using)


def _delete_histories(model: type[SftPair] | type[PreferencePair], before: datetime, *, using: str) -> int:
    history = model.history.model._default_manager.using(using)
    present = model.objects.using(using).filter(pk=OuterRef("id"))
    # Whose pairs are gone the indexes tell alone; the records themselves hold texts, and most are of pairs that stay.
    gone = list(history.filter(~Exists(present)).order_by("id").values_list("id", flat=True).distinct())
    deleted = 0
    for start in range(0, len(gone), ROWS_PER_TRANSACTION):
        some = history.filter(id__in=key_list(gone[start : start + ROWS_PER_TRANSACTION], using=using))
        ended = list(some.filter(history_type="-", history_date__lt=before).order_by().values_list("id", flat=True))
        found = history.filter(~Exists(present), id__in=key_list(ended, using=using))
        deleted += _delete(found, using=using) if ended else 0
    return deleted


def _delete(rows: models.QuerySet[Any], *, using: str) -> int:
    """Delete the rows, to which nothing refers, in short transactions; return how many there were."""
    deleted = 0
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_PER_TRANSACTION]):
        # Of some models the key is a text, of which a thousand are few enough to be parameters.
        chosen = keys if isinstance(keys[0], str) else key_list(keys, using=using)
        with transaction.atomic(using=using):
            deleted += rows.model._default_manager.using(using).filter(pk__in=chosen)._raw_delete(using)
    return deleted
