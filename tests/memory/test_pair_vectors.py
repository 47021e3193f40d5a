"""A pair has one vector, of the texts that it has now."""

from threading import Thread

import pytest
from django.db import connection, transaction

from memory.models import PairEmbedding, SftPair
from memory.pair_vectors import PairVector, forget_vectors, pairs_without_vector, store_vectors
from tests.memory import rows

pytestmark = pytest.mark.django_db


def vector_of(pair: SftPair, vector: bytes = bytes(8)) -> PairVector:
    return PairVector(pair.pk, pair.content_hash, vector)


def test_a_vector_of_another_version_gives_way_to_a_new_row() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    old = rows.embedding(pair, embedder="old", cluster=3)
    rows.embedding(other, embedder="old")

    found = store_vectors(SftPair, [vector_of(pair)], version="new", using="default")

    assert found == (1, 1)
    new = PairEmbedding.objects.get(sft_pair=pair)
    assert (new.embedder, new.dimension, bytes(new.vector), new.cluster) == ("new", 4, bytes(8), None)
    assert new.pk > old.pk
    assert PairEmbedding.objects.get(sft_pair=other).embedder == "old"


def test_a_pair_that_changed_or_went_since_gets_no_vector_and_loses_none() -> None:
    edited, deleted, kept = (rows.sft_pair() for _ in range(3))
    rows.embedding(edited, embedder="old")
    vectors = [vector_of(pair) for pair in (edited, deleted, kept)]
    edited.response = "Biscuit."
    edited.prepare()
    edited.save_base(raw=True)
    deleted.delete()

    assert store_vectors(SftPair, vectors, version="new", using="default") == (1, 0)

    assert set(PairEmbedding.objects.values_list("sft_pair", "embedder")) == {(edited.pk, "old"), (kept.pk, "new")}


def test_nothing_to_store_is_no_query(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert store_vectors(SftPair, [], version="new", using="default") == (0, 0)


def test_pairs_without_a_vector_are_those_that_may_be_trained_and_lack_one_of_this_version() -> None:
    missing, present, outdated = (rows.sft_pair() for _ in range(3))
    rows.sft_pair(review_status="rejected")
    rows.sft_pair(merged_into=missing)
    rows.embedding(present, embedder="new")
    rows.embedding(outdated, embedder="old")

    assert list(pairs_without_vector(SftPair, version="new", using="default")) == [missing, outdated]


def test_vectors_are_forgotten_by_pair() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    rows.embedding(pair)
    rows.embedding(other)

    assert forget_vectors(SftPair, [pair.pk], using="default") == 1

    assert PairEmbedding.objects.get().sft_pair == other


@pytest.mark.skipif(connection.vendor != "postgresql", reason="row locks; SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_a_vector_waits_for_the_person_who_edits_its_text() -> None:
    pair = rows.sft_pair()
    vector = vector_of(pair)
    found: list[tuple[int, int]] = []

    def store() -> None:
        try:
            found.append(store_vectors(SftPair, [vector], version="new", using="default"))
        finally:
            connection.close()

    storing = Thread(target=store)
    with transaction.atomic():
        pair.response = "Biscuit."
        pair.prepare()
        pair.save_base(raw=True)
        storing.start()
        storing.join(timeout=0.5)
        assert storing.is_alive()
    storing.join(timeout=30)

    assert found == [(0, 0)]
    assert not PairEmbedding.objects.exists()
