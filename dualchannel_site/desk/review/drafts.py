"""The other answers to the instruction of a memory pair, beside the one that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memory.embeddings import from_bytes
from memory.extraction.batch import COLLAPSED
from memory.models import Message, PairEmbedding, SftPair
from memory.pair_vectors import NUMBER_BYTES

# An embedder and a vector of it.
_Stored = tuple[str, bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Draft:
    """One draft: its message, and its cosine to the trained answer in [-1, 1] where it is known."""

    message: Message
    similarity: float | None


def drafts_of(pair: SftPair, messages: Sequence[Message]) -> list[Draft]:
    """Return `messages`, the drafts beside the pair's answer, with their similarity to it; one query.

    The cosine is that of the stored vectors of both pairs, which are made of instruction and answer; where a draft has
    no pair, because the extraction found it too much like the trained one, it is the cosine that was found then.
    """
    owners = [pair.assistant_message_id, *(message.pk for message in messages)]
    stored = PairEmbedding.objects.filter(sft_pair__assistant_message__in=owners)
    vectors = {row[0]: row[1:] for row in stored.values_list("sft_pair__assistant_message", "embedder", "vector")}
    own = vectors.get(pair.assistant_message_id or 0)
    noted = _noted(pair)
    return [
        Draft(message, _cosine(own, vectors.get(message.pk), otherwise=noted.get(message.pk))) for message in messages
    ]


def _noted(pair: SftPair) -> dict[int, float]:
    """Return the cosines that the extraction noted, by message; an imported pair may keep something else there."""
    entries = pair.metadata.get(COLLAPSED) if isinstance(pair.metadata, dict) else None
    return {
        entry["message"]: entry["similarity"]
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("message"), int)
        and isinstance(entry.get("similarity"), int | float)
    }


def _cosine(own: _Stored | None, other: _Stored | None, *, otherwise: float | None) -> float | None:
    """Return the cosine of two stored vectors, each with its embedder; `otherwise` where they cannot be compared."""
    if own is None or other is None or own[0] != other[0] or len(own[1]) != len(other[1]):
        return otherwise
    first, second = from_bytes([bytes(own[1]), bytes(other[1])], dimension=len(own[1]) // NUMBER_BYTES)
    return float(first @ second)
