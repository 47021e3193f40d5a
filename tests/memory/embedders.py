"""An embedder for tests, whose similarities are chosen by the test."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from memory.embeddings import Embedder, Vectors, unit_rows


class FakeEmbedder:
    """Texts with an angle, in degrees, have the cosine of the angle between them; all others are unlike any."""

    version = "fake/16"
    dimension = 16

    def __init__(self, angles: Mapping[str, float] | None = None) -> None:
        self._angles = dict(angles or {})
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.encoded += texts
        return unit_rows(np.stack([self._vector(text) for text in texts]).astype(np.float32))

    def _vector(self, text: str) -> np.ndarray:
        vector = np.zeros(self.dimension)
        if text in self._angles:
            angle = np.radians(self._angles[text])
            vector[:2] = np.cos(angle), np.sin(angle)
        else:
            vector[2:] = np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.dimension - 2)
        return vector


def refuse_to_load() -> Embedder:
    raise AssertionError("the embedder was loaded")
