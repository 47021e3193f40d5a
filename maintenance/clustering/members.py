"""The embeddings that are clustered, read into arrays; their vectors and texts, read in portions by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models.functions import Substr

from maintenance.clustering.labels import NO_CLUSTER, Clusters, Keys, pair_numbers
from memory.bulk import key_list
from memory.embeddings import Vectors, from_bytes, pair_text
from memory.models import PairEmbedding, PreferencePair, SftPair
from training.sampling.plan import Channel

_ROWS_READ = 10_000
# 8,192 vectors of 384 numbers are 12 MB in float32.
_VECTORS_READ = 8_192
_TEXTS_READ = 2_000
# Characters of a text of which its typical words are taken: the rest of a long one says the same.
_TEXT_LENGTH = 1_000

_MODELS: Mapping[Channel, type[SftPair] | type[PreferencePair]] = {"sft": SftPair, "preference": PreferencePair}
_MEMBER = np.dtype([("embedding", np.int64), ("pair", np.int64), ("cluster", np.int32), ("is_unused", np.bool_)])


@dataclass(frozen=True, slots=True)
class Members:
    """The embeddings of one version whose pairs may be trained, n of them, of both channels.

    Attributes:
        embeddings: primary keys, ascending, shape (n,).
        pairs: the pair of each, as `labels.pair_numbers` names it, shape (n,).
        clusters: the cluster of each, `NO_CLUSTER` where it has none, shape (n,).
        is_unused: whether the pair still waits to be trained, shape (n,).

    """

    embeddings: Keys
    pairs: Keys
    clusters: Clusters
    is_unused: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def is_preference(self) -> npt.NDArray[np.bool_]:
        """Whether each is of the preference channel, shape (n,)."""
        found: npt.NDArray[np.bool_] = self.pairs % 2 == 1
        return found

    def of(self, chosen: npt.NDArray[Any]) -> Members:
        """Return those that a mask or positions in ascending order choose."""
        return Members(self.embeddings[chosen], self.pairs[chosen], self.clusters[chosen], self.is_unused[chosen])

    def in_clusters(self, clusters: Clusters) -> Members:
        """Return the same members in other clusters, shape (n,)."""
        return replace(self, clusters=clusters)


def read_members(*, version: str, using: str) -> Members:
    """Read who takes part; `version` is that of the embedder."""
    rows = np.concatenate([_rows(channel, version, using) for channel in _MODELS])
    rows.sort(order="embedding")
    return Members(*(np.ascontiguousarray(rows[name]) for name in ("embedding", "pair", "cluster", "is_unused")))


def read_vectors(embeddings: Keys, *, using: str) -> Iterator[tuple[npt.NDArray[np.int64], Vectors]]:
    """Yield the vectors of `embeddings`, ascending, in portions of (m, d) float32, with the position of each, (m,).

    They are unit rows; one that is not finite is zero, as near to one cluster as to another. Those of embeddings that
    are gone since their keys were read are left out.
    """
    for start in range(0, len(embeddings), _VECTORS_READ):
        portion = embeddings[start : start + _VECTORS_READ]
        found = PairEmbedding.objects.using(using).filter(pk__in=key_list(portion.tolist(), using=using))
        rows = list(found.order_by("pk").values_list("pk", "dimension", "vector"))
        if rows:
            positions = start + np.searchsorted(portion, np.array([pk for pk, *_ in rows]))
            with np.errstate(invalid="ignore"):
                vectors = from_bytes([bytes(vector) for *_, vector in rows], dimension=rows[0][1])
            vectors[~np.isfinite(vectors).all(axis=1)] = 0
            yield positions, vectors


def read_texts(members: Members, *, using: str) -> tuple[list[str], Clusters]:
    """Return the beginnings of the texts of `members`, and the cluster of each; pairs that are gone are left out."""
    texts: list[str] = []
    clusters: list[int] = []
    for channel in _MODELS:
        of_channel = members.is_preference == (channel == "preference")
        cluster_of = dict(
            zip((members.pairs[of_channel] // 2).tolist(), members.clusters[of_channel].tolist(), strict=True)
        )
        keys = sorted(cluster_of)
        for start in range(0, len(keys), _TEXTS_READ):
            for pk, text in _texts(channel, keys[start : start + _TEXTS_READ], using=using):
                texts.append(text)
                clusters.append(cluster_of[pk])
    return texts, np.array(clusters, dtype=np.int32)


def _rows(channel: Channel, version: str, using: str) -> npt.NDArray[np.void]:
    pairs = _MODELS[channel].objects.using(using).trainable().filter(embedding__embedder=version).order_by()
    columns = pairs.values_list("embedding__pk", "pk", "embedding__cluster", "is_used")
    rows = np.fromiter(
        (
            (embedding, pk, NO_CLUSTER if cluster is None else cluster, not is_used)
            for embedding, pk, cluster, is_used in columns.iterator(chunk_size=_ROWS_READ)
        ),
        dtype=_MEMBER,
    )
    rows["pair"] = pair_numbers(rows["pair"], is_preference=channel == "preference")
    return rows


def _texts(channel: Channel, keys: list[int], *, using: str) -> Iterator[tuple[int, str]]:
    keyed = key_list(keys, using=using)
    if channel == "sft":
        sft = SftPair.objects.using(using).filter(pk__in=keyed).order_by("pk")
        for pk, *texts in sft.values_list(
            "pk", Substr("instruction", 1, _TEXT_LENGTH), Substr("response", 1, _TEXT_LENGTH)
        ):
            yield pk, pair_text(*texts)
        return
    preferences = PreferencePair.objects.using(using).filter(pk__in=keyed).order_by("pk")
    for pk, prompt, chosen in preferences.values_list("pk", "prompt", Substr("chosen", 1, _TEXT_LENGTH)):
        yield pk, pair_text(prompt[-1]["content"][:_TEXT_LENGTH], chosen)
