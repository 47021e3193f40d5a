"""Pairs of topics for tests, each stored with its vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from memory.embeddings import Vectors, to_bytes, unit_rows
from memory.models import PairEmbedding, PreferencePair, SftPair
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder

VERSION = FakeEmbedder.version
DIMENSION = FakeEmbedder.dimension


def vectors_of(topic: int, count: int, *, seed: int = 0) -> Vectors:
    """Return unit rows that lie within a few degrees of a direction of the topic's own, 0 to 15."""
    noise = np.random.default_rng([seed, topic]).normal(size=(count, DIMENSION), scale=0.02)
    return unit_rows((np.eye(DIMENSION)[topic] + noise).astype(np.float32))


def embedded(pair: SftPair | PreferencePair, vector: np.ndarray, **fields: Any) -> PairEmbedding:
    """Store the vector of a pair."""
    owner = {"sft_pair": pair} if isinstance(pair, SftPair) else {"preference_pair": pair}
    values = {"embedder": VERSION, "dimension": len(vector), "vector": to_bytes(vector), **fields}
    return PairEmbedding.objects.create(**owner, **values)


def memories(
    topic: int, count: int, *, seed: int = 0, cluster: int | None = None, **fields: Any
) -> list[PairEmbedding]:
    """Store memory pairs of a topic; return their embeddings."""
    return [
        embedded(rows.sft_pair(**fields), vector, cluster=cluster) for vector in vectors_of(topic, count, seed=seed)
    ]


def preferences(topic: int, count: int, *, seed: int = 1, **fields: Any) -> list[PairEmbedding]:
    """Store preference pairs of a topic; return their embeddings."""
    # No two preference pairs are alike in all of their texts.
    return [
        embedded(rows.preference_pair(**{"rejected": f"Not {seed}, {topic}, {number}.", **fields}), vector)
        for number, vector in enumerate(vectors_of(topic, count, seed=seed))
    ]


def column() -> dict[int, int | None]:
    """Return the cluster of every embedding."""
    return dict(PairEmbedding.objects.order_by("pk").values_list("pk", "cluster"))


def clusters_of(embeddings: list[PairEmbedding]) -> set[int | None]:
    """Return the clusters that the embeddings are in now."""
    found = column()
    return {found[each.pk] for each in embeddings}
