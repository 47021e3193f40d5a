"""The tiny model, made once."""

import pytest

from tests.training.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of an untrained two-layer Llama with a tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("tiny-model")
    make_tiny_model(folder)
    return str(folder)
