"""Vectors of texts, asked for inside a transaction, made outside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from memory.embeddings import Embedder, Vectors


class VectorsMissingError(Exception):
    """Texts that have no vector yet; `make` makes them."""

    def __init__(self, cache: VectorCache, texts: Sequence[str]) -> None:
        super().__init__(f"{len(texts)} texts have no vector yet")
        self._cache = cache
        self._texts = texts

    def make(self) -> None:
        """Make the vectors; to be called outside the transaction."""
        self._cache.encode(self._texts)


class VectorCache:
    """Vectors by text.

    Encoding takes seconds to minutes, in which no lock on the database may be held. So a transaction only looks
    vectors up; if one is missing it ends, `VectorsMissingError.make` makes it, and the transaction runs again. The
    embedder is loaded with the first text that needs it.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._vectors: dict[str, Vectors] = {}

    def require(self, texts: Sequence[str]) -> None:
        """Make sure that all `texts` have a vector.

        Raises:
            VectorsMissingError: if any has not; names all of those.

        """
        if missing := [text for text in dict.fromkeys(texts) if text not in self._vectors]:
            raise VectorsMissingError(self, missing)

    def encode(self, texts: Sequence[str]) -> None:
        """Make the vectors of `texts`."""
        # In one order, whatever the caller's: how a text is padded depends on its neighbours, and moves its last bits.
        ordered = sorted(texts)
        self._vectors.update(zip(ordered, self._load().encode(ordered), strict=True))

    def rows(self, texts: Sequence[str]) -> Vectors:
        """Return the unit vectors of `texts`, float32, shape (len(texts), dimension); they must be there."""
        return np.stack([self._vectors[text] for text in texts])

    def similarity(self, first: str, second: str) -> float:
        """Return the cosine of two texts, in [-1, 1]; their vectors must be there."""
        return float(self._vectors[first] @ self._vectors[second])

    def forget(self) -> None:
        """Drop all vectors, so that memory does not grow with the run."""
        self._vectors.clear()
