"""The stored vectors of pairs: one for each pair, of the texts that it has now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from django.db import models, transaction

from memory.bulk import insert_rows, key_list
from memory.models import PairEmbedding, PreferencePair, SftPair, TrainingPair

# The column that names the pair of a vector.
OWNERS: Mapping[type[TrainingPair], str] = {SftPair: "sft_pair_id", PreferencePair: "preference_pair_id"}
# Bytes of a number in a stored vector.
NUMBER_BYTES = np.dtype("<f2").itemsize


class PairVector(NamedTuple):
    """A vector in stored form, with the pair and the content hash of the texts that it was made of."""

    pair: int
    content_hash: str
    vector: bytes


class StoredVectors(NamedTuple):
    """How many vectors were stored, and how many older ones gave way to them."""

    stored: int
    replaced: int


def pairs_without_vector(
    model: type[SftPair] | type[PreferencePair], *, version: str, using: str
) -> models.QuerySet[Any]:
    """Return the pairs that may be trained and have no vector, or one of another version of the embedder, by key."""
    return model.objects.using(using).trainable().exclude(embedding__embedder=version).order_by("pk")


def store_vectors(
    model: type[TrainingPair], vectors: Sequence[PairVector], *, version: str, using: str
) -> StoredVectors:
    """Store one vector for each pair, in one transaction; those of another version give way.

    A pair that was deleted, or whose texts were edited, since its vector was made gets none.
    """
    if not vectors:
        return StoredVectors(0, 0)
    owner = OWNERS[model]
    made = {each.pair: each for each in vectors}
    with transaction.atomic(using=using):
        # Locked, so that whoever edits a text now deletes the vector after it was stored.
        pairs = model._default_manager.using(using).filter(pk__in=key_list(list(made), using=using))
        hashes = pairs.order_by("pk").select_for_update().values_list("pk", "content_hash")
        valid = [made[pk] for pk, content_hash in hashes if content_hash == made[pk].content_hash]
        replaced = forget_vectors(model, [each.pair for each in valid], using=using)
        stored = insert_rows(
            PairEmbedding,
            [owner, "embedder", "dimension", "vector"],
            [(each.pair, version, len(each.vector) // NUMBER_BYTES, each.vector) for each in valid],
            using=using,
        )
    return StoredVectors(stored, replaced)


def forget_vectors(model: type[TrainingPair], pairs: Sequence[int], *, using: str) -> int:
    """Delete the vectors of `pairs`, whose texts are about to be, or were, changed; return how many there were."""
    found = PairEmbedding.objects.using(using).filter(**{f"{OWNERS[model]}__in": key_list(pairs, using=using)})
    return found.delete()[0]
