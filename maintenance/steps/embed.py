"""Every pair that may be trained gets the vector of its present text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from maintenance.night import Night, StepOutcome
from memory.bulk import key_list
from memory.embeddings import pair_text, to_bytes
from memory.models import PreferencePair, SftPair
from memory.pair_vectors import PairVector, StoredVectors, pairs_without_vector, store_vectors
from training.sampling.plan import Channel

# Texts that are embedded and stored together: what a night that is killed loses, a dozen seconds on a slow machine.
BATCH_TEXTS = 512

# By channel: its pairs, the columns of the text that stands for one, and how that is put together.
_CHANNELS: Mapping[Channel, tuple[type[SftPair] | type[PreferencePair], tuple[str, str], Callable[[Any, str], str]]] = {
    "sft": (SftPair, ("instruction", "response"), pair_text),
    "preference": (
        PreferencePair,
        ("prompt", "chosen"),
        lambda prompt, chosen: pair_text(prompt[-1]["content"], chosen),
    ),
}


class EmbedderFailedError(RuntimeError):
    """The embedder gave up in the middle; says how far it came."""


def embed(night: Night) -> StepOutcome:
    """Embed what has no vector, or one of another version of the embedder, batch by batch.

    The embedder is loaded only if there is anything to embed. A batch is stored in a transaction of its own, so that
    the next night goes on where this one ended. Vectors follow from the texts: they are not in the journal.

    Raises:
        ImproperlyConfigured: there is no embedder.
        EmbedderFailedError: it failed on a batch; those before are stored.

    """
    version = night.version()
    missing = {channel: _keys(model, version, using=night.using) for channel, (model, *_) in _CHANNELS.items()}
    total = sum(len(keys) for keys in missing.values())
    counts = {"embedded_sft": 0, "embedded_preference": 0, "replaced": 0}
    if not total:
        return StepOutcome(counts=counts)
    embedder = night.load()
    began, done = time.monotonic(), 0

    def encode(texts: Sequence[str]) -> dict[str, bytes]:
        try:
            return dict(zip(texts, map(to_bytes, embedder.encode(texts)), strict=True))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EmbedderFailedError(f"the embedder failed after {done:,} of {total:,} pairs: {reason}") from error

    for channel, keys in missing.items():
        for start in range(0, len(keys), BATCH_TEXTS):
            batch = keys[start : start + BATCH_TEXTS].tolist()
            found = _embed(channel, batch, encode, version, using=night.using)
            counts[f"embedded_{channel}"] += found.stored
            counts["replaced"] += found.replaced
            done += len(batch)
            rate = done / max(time.monotonic() - began, 1e-3)
            night.progress(f"{done:,} of {total:,} pairs embedded, {rate:,.0f} a second", done / total)
    return StepOutcome(counts=counts)


def _keys(model: type[SftPair] | type[PreferencePair], version: str, *, using: str) -> npt.NDArray[np.int64]:
    """Return the keys of the pairs to embed: the texts of a million would not fit, their keys do."""
    rows = pairs_without_vector(model, version=version, using=using).values_list("pk", flat=True)
    return np.fromiter(rows.iterator(chunk_size=10_000), dtype=np.int64)


def _embed(
    channel: Channel,
    keys: Sequence[int],
    encode: Callable[[Sequence[str]], dict[str, bytes]],
    version: str,
    *,
    using: str,
) -> StoredVectors:
    model, columns, text_of = _CHANNELS[channel]
    # Of those that were to be embedded when the step began, some may be gone, rejected or embedded since.
    pairs = pairs_without_vector(model, version=version, using=using).filter(pk__in=key_list(keys, using=using))
    rows = [(pk, known, text_of(*texts)) for pk, known, *texts in pairs.values_list("pk", "content_hash", *columns)]
    # In one order, whatever their keys: how a text is padded depends on its neighbours, and moves its last bits.
    texts = sorted({text for *_, text in rows})
    made = encode(texts) if texts else {}
    vectors = [PairVector(pk, known, made[text]) for pk, known, text in rows]
    return store_vectors(model, vectors, version=version, using=using)
