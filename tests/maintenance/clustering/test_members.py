"""Who takes part in a clustering, with vectors and texts."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from maintenance.clustering import members as module
from maintenance.clustering.labels import NO_CLUSTER
from maintenance.clustering.members import read_members, read_texts, read_vectors
from memory.models import PairEmbedding
from tests.maintenance.clustering.stored import VERSION, embedded, memories, preferences, vectors_of
from tests.memory import rows

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def test_trainable_pairs_of_both_channels_take_part_with_vectors_of_the_present_embedder() -> None:
    (preference,) = preferences(0, 1, is_used=True, used_timestamp=MOMENT, training_epoch=0)
    labelled, fresh = memories(0, 1, cluster=3) + memories(1, 1)
    memories(0, 1, review_status="rejected")
    memories(0, 1, archived_at=MOMENT)
    memories(0, 1, merged_into=labelled.sft_pair)
    preferences(0, 1, seed=2, archived_at=MOMENT)
    embedded(rows.sft_pair(), vectors_of(0, 1)[0], embedder="old")
    rows.sft_pair()

    found = read_members(version=VERSION, using="default")

    assert found.embeddings.tolist() == [preference.pk, labelled.pk, fresh.pk]
    assert labelled.sft_pair and fresh.sft_pair and preference.preference_pair
    assert found.pairs.tolist() == [
        2 * preference.preference_pair.pk + 1,
        2 * labelled.sft_pair.pk,
        2 * fresh.sft_pair.pk,
    ]
    assert found.clusters.tolist() == [NO_CLUSTER, 3, NO_CLUSTER]
    assert found.is_unused.tolist() == [False, True, True]
    assert found.is_preference.tolist() == [True, False, False]


def test_vectors_come_in_portions_with_their_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_VECTORS_READ", 2)
    stored = memories(0, 3) + memories(1, 2)
    keys = np.array([each.pk for each in stored])
    stored[1].delete()
    stored[4].delete()
    positions, vectors = zip(*read_vectors(keys, using="default"), strict=True)
    assert [each.tolist() for each in positions] == [[0], [2, 3]]
    expected = np.concatenate([vectors_of(0, 3), vectors_of(1, 2)])[[0, 2, 3]]
    assert np.concatenate(vectors) == pytest.approx(expected, abs=1e-3)


def test_a_vector_that_is_not_finite_is_zero() -> None:
    stored = memories(0, 2)
    infinite = np.full(16, np.inf, dtype="<f2").tobytes()
    PairEmbedding.objects.filter(pk=stored[0].pk).update(vector=infinite)
    ((_, vectors),) = read_vectors(np.array([each.pk for each in stored]), using="default")
    assert vectors[0].tolist() == [0.0] * 16
    assert vectors[1].any()


def test_texts_come_cut_each_with_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TEXT_LENGTH", 6)
    said = [{"role": "user", "content": "Hi."}, {"role": "user", "content": "Say hello again."}]
    # Keys of both channels are alike.
    memory, gone = memories(0, 1, instruction="A long question", response="A long answer") + memories(0, 1)
    (preference,) = preferences(0, 1, prompt=said, chosen="Hello again.")
    found = read_members(version=VERSION, using="default").in_clusters(np.array([4, 5, 7], np.int32))
    assert gone.sft_pair is not None
    gone.sft_pair.delete()
    texts, clusters = read_texts(found, using="default")
    assert memory.sft_pair_id and preference.preference_pair_id
    assert dict(zip(texts, clusters.tolist(), strict=True)) == {"A long\nA long": 4, "Say he\nHello ": 7}
