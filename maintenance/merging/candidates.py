"""The pairs that may be merged, read into arrays: a million texts would not fit, what ranks them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from maintenance.merging.channels import Channel, PairTexts
from maintenance.merging.ranking import CANDIDATE, Candidates, Numbers, hash_words, leaders, ranked
from maintenance.similarity.rows import StoredVectors
from memory.bulk import key_list
from memory.models import PairEmbedding, ReviewStatus, SftPair

_ROWS_READ = 5_000
_TEXTS_READ = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Pool:
    """The pairs of a channel that may be merged.

    Attributes:
        candidates: `CANDIDATE`, shape (n,), best first.
        leaders: for each the number of the first one with the same content and dialogue before, shape (n,).
        compared: of those with an embedding the first of each content, ascending, shape (m,).
        sources: for each of `compared` the number of the candidate whose embedding is taken, shape (m,).

    """

    candidates: Candidates
    leaders: Numbers
    compared: Numbers
    sources: Numbers

    def numbers(self, pairs: npt.NDArray[np.int64]) -> Numbers:
        """Return the numbers of candidates by their keys, -1 where there is none; shape of `pairs`."""
        keys = self.candidates["pair"]
        if not len(keys):
            return np.full(len(pairs), -1, dtype=np.intp)
        order = np.argsort(keys)
        found = order[np.minimum(np.searchsorted(keys, pairs, sorter=order), len(keys) - 1)]
        return np.where(keys[found] == pairs, found, -1)


def read_pool(channel: Channel, *, version: str, using: str) -> Pool:
    """Read what ranks the pairs of a channel that may be trained; `version` is that of the embedder."""
    columns = (
        "pk",
        "review_status",
        "source",
        channel.reward,
        "created_at",
        "content_hash",
        "embedding__pk",
        "embedding__embedder",
        *filter(None, [channel.loss]),
    )
    rows = channel.model.objects.using(using).trainable().order_by().values_list(*columns)
    candidates = ranked(np.fromiter(_candidates(rows.iterator(chunk_size=_ROWS_READ), version), dtype=CANDIDATE))
    first = leaders(candidates)
    _part_by_dialogue(channel, candidates, first, using=using)
    embedded = np.flatnonzero(candidates["embedding"])
    compared, positions = np.unique(first[embedded], return_index=True)
    return Pool(candidates, first, compared, embedded[positions])


def read_vectors(
    channel: Channel, pool: Pool, *, version: str, using: str, on_progress: Callable[[float], None]
) -> StoredVectors:
    """Return the stored vectors of `pool.compared`, float16, shape (m, d), each read to its place.

    A vector that was replaced since the pool was read is left zero, which is similar to nothing.
    """
    wanted = pool.candidates["embedding"][pool.sources]
    stored = PairEmbedding.objects.using(using).filter(embedder=version, **{f"{channel.owner}__isnull": False})
    dimension = stored.order_by().values_list("dimension", flat=True).first() or 0
    vectors = np.zeros((len(wanted), dimension), dtype="<f2")
    if not len(wanted):
        return vectors
    order = np.argsort(wanted)
    keys = wanted[order]
    rows = stored.filter(dimension=dimension).order_by().values_list("pk", "vector").iterator(chunk_size=_ROWS_READ)
    done = 0
    for chunk in _chunks(rows):
        read = np.array([pk for pk, _ in chunk], dtype=np.int64)
        places = np.minimum(np.searchsorted(keys, read), len(keys) - 1)
        is_wanted = keys[places] == read
        content = np.frombuffer(b"".join(bytes(vector) for _, vector in chunk), dtype="<f2")
        vectors[order[places[is_wanted]]] = content.reshape(len(chunk), dimension)[is_wanted]
        done += int(is_wanted.sum())
        on_progress(done / len(wanted))
    return vectors


def read_texts(
    channel: Channel, pairs: npt.NDArray[np.int64], *, using: str
) -> Iterator[tuple[npt.NDArray[np.int64], list[PairTexts]]]:
    """Yield keys and texts of `pairs` in portions, by key; pairs that are gone are left out."""
    for start in range(0, len(pairs), _TEXTS_READ):
        portion = np.sort(pairs[start : start + _TEXTS_READ]).tolist()
        found = channel.model.objects.using(using).filter(pk__in=key_list(portion, using=using)).order_by("pk")
        rows = list(found.values_list("pk", *channel.text_columns))
        yield np.array([pk for pk, *_ in rows], dtype=np.int64), [channel.texts(values) for _, *values in rows]


def _part_by_dialogue(channel: Channel, candidates: Candidates, first: Numbers, *, using: str) -> None:
    """Let copies that follow on different dialogues, which their hash leaves out, have leaders of their own."""
    copies = np.flatnonzero(first != np.arange(len(first)))
    among = np.union1d(copies, first[copies])
    keys = candidates["pair"]
    before = {
        key: each.hash_before
        for found, texts in read_texts(channel, keys[among], using=using)
        for key, each in zip(found.tolist(), texts, strict=True)
    }
    heads: dict[tuple[int, int | None], int] = {}
    for number, leader, key in zip(among.tolist(), first[among].tolist(), keys[among].tolist(), strict=True):
        first[number] = heads.setdefault((leader, before.get(key)), number)


def _candidates(rows: Iterator[Any], version: str) -> Iterator[tuple[Any, ...]]:
    for pk, review_status, source, reward, created_at, content_hash, embedding, embedder, *loss in rows:
        yield (
            pk,
            review_status == ReviewStatus.APPROVED,
            reward,
            np.inf if not loss or loss[0] is None else loss[0],
            (created_at - _EPOCH) // _MICROSECOND,
            *hash_words(content_hash),
            source == SftPair.Source.INTROSPECTION,
            embedding if embedder == version else 0,
        )


def _chunks(rows: Iterator[Any]) -> Iterator[Sequence[Any]]:
    chunk: list[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS_READ:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
