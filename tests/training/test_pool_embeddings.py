"""Each pair's vector is made once; a run that finds all of them never loads the embedder."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from memory.embeddings import Vectors, from_bytes, pair_text, to_bytes
from memory.models import PairEmbedding, PreferencePair, SftPair
from tests.memory.embedders import FakeEmbedder, refuse_to_load
from tests.training.records import sft_record
from tests.training.rows import preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.datasets import PreferenceRecord, SftRecord
from training.pool_embeddings import embed_pools, needs_embeddings
from training.sampling.plan import Channel
from training.selection import select_preference, select_sft

pytestmark = pytest.mark.django_db
CONFIG = TrainingConfig.model_validate(
    {
        "model_name_or_path": "any",
        "min_sft_pairs": 1,
        "min_preference_pairs": 1,
        "evaluation": {"validation_share": 0.0},
    }
)


class Embedders:
    """A fake embedder that is loaded on demand, of a version that can be asked for without it."""

    def __init__(self, version: str = "fake/16") -> None:
        self.loaded = FakeEmbedder()
        self.loaded.version = version

    def embed(
        self, sft: Sequence[SftRecord] = (), preference: Sequence[PreferenceRecord] = (), *, store: bool = True
    ) -> dict[Channel, Vectors | None]:
        found = embed_pools(sft, preference, store=store, version=lambda: self.loaded.version, load=lambda: self.loaded)
        return dict(found)


def embed_without_loading(sft: Sequence[SftRecord] = (), preference: Sequence[PreferenceRecord] = ()) -> Any:
    return embed_pools(sft, preference, store=True, version=lambda: "fake/16", load=refuse_to_load)


def test_vectors_stand_in_the_order_of_the_pairs_and_are_unit_rows() -> None:
    sft_pairs(3)
    preference_pairs(2)
    sft, preference = select_sft(CONFIG).train, select_preference(CONFIG).train
    embedders = Embedders()
    found = embedders.embed(sft, preference)
    texts = {
        "sft": [pair_text(f"question {number}", f"answer {number}") for number in (2, 1, 0)],
        "preference": [pair_text(f"question {number}", f"plain answer {number}") for number in (1, 0)],
    }
    assert embedders.loaded.encoded == sorted([*texts["sft"], *texts["preference"]])
    for channel, vectors in found.items():
        assert vectors is not None
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, FakeEmbedder().encode(texts[channel]), atol=1e-3)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_stored_vectors_are_taken_and_the_embedder_is_not_loaded() -> None:
    sft_pairs(3)
    preference_pairs(2)
    sft, preference = select_sft(CONFIG).train, select_preference(CONFIG).train
    made = Embedders().embed(sft, preference)
    again = embed_without_loading(sft, preference)
    assert PairEmbedding.objects.count() == 5
    for channel, vectors in made.items():
        assert vectors is not None
        assert np.array_equal(vectors, again[channel])


def test_only_what_is_missing_is_embedded() -> None:
    sft_pairs(2)
    Embedders().embed(select_sft(CONFIG).train)
    sft_pairs(1)
    embedders = Embedders()
    embedders.embed(select_sft(CONFIG).train)
    assert embedders.loaded.encoded == [pair_text("question 2", "answer 2")]


def test_a_stored_vector_is_read_and_not_made_again() -> None:
    (pair,) = sft_pairs(1)
    vector = np.eye(4, dtype=np.float32)[2]
    PairEmbedding.objects.create(sft_pair=pair, embedder="fake/16", dimension=4, vector=to_bytes(vector))
    found = embed_without_loading(select_sft(CONFIG).train)
    assert found["sft"].tolist() == [vector.tolist()]


def test_a_vector_of_another_version_gives_way() -> None:
    (pair,) = sft_pairs(1)
    (other,) = preference_pairs(1)
    vector = to_bytes(np.ones(4, dtype=np.float32))
    for owner in ({"sft_pair": pair}, {"preference_pair": other}):
        PairEmbedding.objects.create(**owner, embedder="old/4", dimension=4, vector=vector, cluster=3)
    Embedders(version="fake/16").embed(select_sft(CONFIG).train, select_preference(CONFIG).train)
    for row in (SftPair.objects.get().embedding, PreferencePair.objects.get().embedding):
        assert (row.embedder, row.dimension, row.cluster) == ("fake/16", 16, None)
        assert from_bytes([bytes(row.vector)], dimension=16).shape == (1, 16)


def test_a_text_that_was_edited_since_gets_no_vector() -> None:
    edited, _ = sft_pairs(2)
    sft = select_sft(CONFIG).train
    edited.response = "another answer"
    edited.prepare()
    edited.save()
    found = Embedders().embed(sft)
    assert found["sft"] is not None
    assert len(found["sft"]) == 2
    assert not PairEmbedding.objects.filter(sft_pair=edited).exists()
    assert PairEmbedding.objects.count() == 1


def test_a_dry_run_stores_nothing_and_sees_the_same_vectors() -> None:
    sft_pairs(2)
    sft = select_sft(CONFIG).train
    dry = Embedders().embed(sft, store=False)
    assert not PairEmbedding.objects.exists()
    wet = Embedders().embed(sft)
    assert dry["sft"] is not None
    assert np.array_equal(dry["sft"], wet["sft"])  # type: ignore[arg-type]  # not None, like the other


def test_pairs_from_a_file_are_embedded_and_have_no_row() -> None:
    records = [replace(sft_record(number), id=None) for number in range(2)]
    found = Embedders().embed(records)
    assert found["sft"] is not None
    assert found["sft"].shape == (2, 16)
    assert not PairEmbedding.objects.exists()


def test_pairs_of_the_same_text_are_embedded_once() -> None:
    first = sft_record(1)
    again = replace(first, id=None, created_at=first.created_at - timedelta(days=1))
    embedders = Embedders()
    found = embedders.embed([replace(first, id=None), again])
    assert len(embedders.loaded.encoded) == 1
    assert found["sft"] is not None
    assert np.array_equal(found["sft"][0], found["sft"][1])


def test_a_channel_without_pairs_has_no_vectors() -> None:
    assert embed_without_loading() == {"sft": None, "preference": None}


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, True),
        ({"diversity_k": 20}, True),
        ({"diversity_k": None}, False),
        ({"diversity_k": None, "farthest_first_basis": True}, True),
    ],
)
def test_embeddings_are_needed_where_the_draw_depends_on_them(changes: dict[str, Any], needed: bool) -> None:
    assert needs_embeddings(CONFIG.model_copy(update=changes)) is needed
