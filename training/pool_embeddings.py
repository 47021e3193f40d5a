"""The sentence embeddings of the pairs to train, stored with them so that each is made once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memory.bulk import key_list
from memory.embeddings import Embedder, Vectors, embedder_version, from_bytes, load_embedder, pair_text, to_bytes
from memory.models import PairEmbedding, PreferencePair, SftPair
from memory.pair_vectors import NUMBER_BYTES, OWNERS, PairVector, store_vectors
from memory.progress import count_progress
from training.config import TrainingConfig
from training.datasets import PreferenceRecord, Record, SftRecord
from training.sampling.plan import Channel

# Texts between two moves of the progress bar.
_CHUNK = 256
_MODELS: Mapping[Channel, type[SftPair] | type[PreferencePair]] = {"sft": SftPair, "preference": PreferencePair}


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The pairs of one channel in their order, each with the text that stands for it, and vectors by pair."""

    channel: Channel
    ids: tuple[int | None, ...]
    hashes: tuple[str, ...]
    texts: tuple[str, ...]
    stored: Mapping[int | None, bytes]

    def missing(self) -> list[tuple[int | None, str, str]]:
        rows = zip(self.ids, self.hashes, self.texts, strict=True)
        return [(pair, content_hash, text) for pair, content_hash, text in rows if pair not in self.stored]

    def vectors(self, made: Mapping[str, bytes]) -> Vectors | None:
        if not self.ids:
            return None
        rows = [self.stored.get(pair) or made[text] for pair, text in zip(self.ids, self.texts, strict=True)]
        return from_bytes(rows, dimension=len(rows[0]) // NUMBER_BYTES)


def needs_embeddings(config: TrainingConfig) -> bool:
    """Return whether the run draws its batches by what the pairs are about."""
    return config.diversity_k is not None or config.farthest_first_basis


def embed_pools(
    sft: Sequence[SftRecord],
    preference: Sequence[PreferenceRecord],
    *,
    store: bool,
    version: Callable[[], str] = embedder_version,
    load: Callable[[], Embedder] = load_embedder,
) -> Mapping[Channel, Vectors | None]:
    """Return the unit vectors of each channel's pairs, in their order: float32, shape (n, dimension).

    A channel without pairs has None. Stored vectors are taken where they are of the embedder's present version; what
    is missing is embedded, and stored where `store` is set. Pairs from a file have no row to store a vector with.
    Vectors are the same whether they were stored or made just now.

    Args:
        sft: memory pairs.
        preference: preference pairs; their question with the preferred answer stands for them.
        store: whether vectors made now are stored.
        version: returns the version of the embedder without loading it.
        load: returns the embedder; called only if vectors are missing.

    Raises:
        ImproperlyConfigured: there is no embedder.

    """
    present = version()
    sft_texts = [pair_text(each.prompt[-1]["content"], each.completion[-1]["content"]) for each in sft]
    preference_texts = [pair_text(each.prompt[-1]["content"], each.chosen[-1]["content"]) for each in preference]
    channels = (
        _pairs("sft", sft, sft_texts, present),
        _pairs("preference", preference, preference_texts, present),
    )
    made = _made({text for pairs in channels for *_, text in pairs.missing()}, load)
    if store:
        for pairs in channels:
            _store(pairs, made, present)
    return {pairs.channel: pairs.vectors(made) for pairs in channels}


def _pairs(channel: Channel, records: Sequence[Record], texts: Sequence[str], version: str) -> _Pairs:
    owner = OWNERS[_MODELS[channel]]
    ids = tuple(each.id for each in records)
    keys = key_list([pair for pair in ids if pair is not None], using=PairEmbedding.objects.db)
    rows = PairEmbedding.objects.filter(embedder=version, **{f"{owner}__in": keys}).values_list(owner, "vector")
    hashes = tuple(each.content_hash for each in records)
    return _Pairs(channel, ids, hashes, tuple(texts), dict(rows.iterator(chunk_size=2000)))


def _made(texts: Iterable[str], load: Callable[[], Embedder]) -> dict[str, bytes]:
    """Return the vectors of `texts` in stored form; the embedder is loaded only if there are any."""
    # In one order, whatever the caller's: how a text is padded depends on its neighbours, and moves its last bits.
    ordered = sorted(texts)
    if not ordered:
        return {}
    embedder = load()
    found: dict[str, bytes] = {}
    with count_progress("Embedding pairs", total=len(ordered)) as advance:
        for start in range(0, len(ordered), _CHUNK):
            chunk = ordered[start : start + _CHUNK]
            found.update(zip(chunk, map(to_bytes, embedder.encode(chunk)), strict=True))
            if advance is not None:
                advance(len(chunk))
    return found


def _store(pairs: _Pairs, made: Mapping[str, bytes], version: str) -> None:
    rows = [
        PairVector(pair, content_hash, made[text]) for pair, content_hash, text in pairs.missing() if pair is not None
    ]
    store_vectors(_MODELS[pairs.channel], rows, version=version, using=PairEmbedding.objects.db)
