"""One pair written by a person: locked, with what was found on record, and without what its new texts make untrue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, router, transaction

from memory.bulk import key_list
from memory.history import keep_states, record
from memory.models import PreferencePair, SftPair, TrainingPair
from memory.pair_vectors import forget_vectors

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PairT = TypeVar("PairT", bound=TrainingPair)

# What training reads of a pair, and what its vector is made of.
TEXTS: Mapping[type[TrainingPair], tuple[str, ...]] = {
    SftPair: ("instruction", "response", "context"),
    PreferencePair: ("prompt", "chosen", "rejected"),
}


def database_of(pair: TrainingPair) -> str:
    """Return the alias of the database that `pair` is in."""
    return pair._state.db or router.db_for_write(type(pair))


def lock(pair: PairT) -> PairT:
    """Return `pair` as it is stored, which it stays to the end of the transaction."""
    return type(pair)._default_manager.using(database_of(pair)).select_for_update().get(pk=pair.pk)


def lock_groups(model: type[TrainingPair], keys: Iterable[int], *, using: str) -> None:
    """Lock the pairs `keys`, those that stand for them, and all that any of these stand for, to the transaction's end.

    In the order of their keys, as all who lock several pairs do: two people who merge the same pairs take turns, where
    each would wait for the other else.
    """
    pairs: Any = model._default_manager.using(using)
    chosen = list(keys)
    survivors = pairs.filter(pk__in=key_list(chosen, using=using), merged_into__isnull=False)
    standing = [*chosen, *survivors.values_list("merged_into", flat=True)]
    followers = pairs.filter(merged_into__in=key_list(standing, using=using)).values_list("pk", flat=True)
    group = pairs.filter(pk__in=key_list([*standing, *followers], using=using))
    list(group.order_by("pk").select_for_update().values("pk"))


def write(pair: PairT, values: Mapping[str, Any], *, user: User | AnonymousUser | None, reason: str) -> None:
    """Set columns of a locked `pair`, by attribute name; its vector goes where a text does.

    Raises:
        ValidationError: the same prompt and answers are stored already.

    """
    model, using = type(pair), database_of(pair)
    stored = model._default_manager.using(using).filter(pk=pair.pk)
    keep_states(stored)
    try:
        with transaction.atomic(using=using):
            stored.update(**values)
    except IntegrityError as error:
        raise ValidationError("content: got that of another preference pair, allowed only new content") from error
    record(stored, kind="~", user=user, reason=reason)
    if not values.keys().isdisjoint(TEXTS[model]):
        # After the row, whose lock an embedder waits for: it finds the new text, or its vector goes here.
        forget_vectors(model, [pair.pk], using=using)
    for name, value in values.items():
        setattr(pair, name, value)
