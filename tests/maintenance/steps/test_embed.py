"""Every pair that may be trained has the vector of its present text, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from maintenance.models import RowChange
from maintenance.night import Night, StepOutcome
from maintenance.steps import embed as step
from maintenance.steps.embed import EmbedderFailedError, embed
from memory.embeddings import Embedder, Vectors, from_bytes, pair_text
from memory.models import PairEmbedding, PreferencePair, SftPair
from tests.maintenance import nights
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder, refuse_to_load

pytestmark = pytest.mark.django_db

PRESENT = FakeEmbedder.version


class Watched(FakeEmbedder):
    """An embedder during whose every call something happens."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        super().__init__()
        self._happens = happens
        self._calls = 0

    def encode(self, texts: Sequence[str]) -> Vectors:
        self._calls += 1
        self._happens(self._calls)
        return super().encode(texts)


def night(load: Callable[[], Embedder] = FakeEmbedder) -> Night:
    return replace(nights.night("embed"), load=load)


def embed_with(embedder: Embedder) -> StepOutcome:
    return embed(night(lambda: embedder))


def embedded() -> set[int | None]:
    return set(PairEmbedding.objects.filter(embedder=PRESENT).values_list("sft_pair", flat=True))


@pytest.fixture
def two_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BATCH_TEXTS", 2)


def test_pairs_of_both_channels_get_the_vectors_of_their_texts() -> None:
    pair, preference = rows.sft_pair(), rows.preference_pair()

    outcome = embed(night())

    assert outcome.counts == {"embedded_sft": 1, "embedded_preference": 1, "replaced": 0}
    texts: dict[SftPair | PreferencePair, str] = {
        pair: pair_text("What is my dog called?", "Pixel."),
        preference: pair_text("Say hello.", "Hello."),
    }
    for owner, text in texts.items():
        row = owner.embedding
        assert (row.embedder, row.dimension, row.cluster) == (PRESENT, 16, None)
        assert from_bytes([bytes(row.vector)], dimension=16) == pytest.approx(FakeEmbedder().encode([text]), abs=1e-3)
    # Vectors follow from the texts; there is nothing to put back.
    assert not RowChange.objects.exists()


def test_a_preference_is_known_by_its_last_question() -> None:
    said = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    rows.preference_pair(prompt=[*said, {"role": "user", "content": "Say hello again."}], chosen="Hello again.")
    embedder = FakeEmbedder()
    embed_with(embedder)
    assert embedder.encoded == [pair_text("Say hello again.", "Hello again.")]


def test_where_nothing_is_missing_the_embedder_is_not_loaded() -> None:
    rows.embedding(rows.sft_pair(), embedder=PRESENT)
    outcome = embed(night(refuse_to_load))
    assert outcome.counts == {"embedded_sft": 0, "embedded_preference": 0, "replaced": 0}
    assert outcome.skipped == ""


def test_a_vector_of_another_version_is_made_anew() -> None:
    pair, missing = rows.sft_pair(), rows.sft_pair()
    old = rows.embedding(pair, embedder="old", cluster=3)

    outcome = embed(night())

    assert outcome.counts == {"embedded_sft": 2, "embedded_preference": 0, "replaced": 1}
    assert embedded() == {pair.pk, missing.pk}
    assert PairEmbedding.objects.get(sft_pair=pair).pk > old.pk
    assert PairEmbedding.objects.count() == 2


def test_what_is_never_trained_is_not_embedded() -> None:
    kept = rows.sft_pair()
    rows.sft_pair(review_status="rejected")
    rows.sft_pair(merged_into=kept)
    rows.sft_pair(archived_at=kept.created_at)
    rows.sft_pair(sampling_weight=0.0)
    rows.preference_pair(review_status="rejected")
    embed(night())
    assert PairEmbedding.objects.get().sft_pair == kept


def test_pairs_of_one_text_are_embedded_once() -> None:
    rows.sft_pair()
    rows.sft_pair()
    embedder = FakeEmbedder()
    assert embed_with(embedder).counts["embedded_sft"] == 2
    assert len(embedder.encoded) == 1


@pytest.mark.usefixtures("two_a_batch")
def test_an_embedder_that_fails_in_the_middle_leaves_the_batches_before() -> None:
    pairs = [rows.sft_pair(response=f"Pixel {number}.") for number in range(5)]

    def fail(call: int) -> None:
        if call == 2:
            raise RuntimeError("out of\nmemory")

    with pytest.raises(EmbedderFailedError, match=r"^the embedder failed after 2 of 5 pairs: out of memory$"):
        embed_with(Watched(fail))
    assert embedded() == {pair.pk for pair in pairs[:2]}

    again = FakeEmbedder()
    assert embed_with(again).counts["embedded_sft"] == 3
    assert again.encoded == [pair_text(pair.instruction, pair.response) for pair in pairs[2:]]
    assert embedded() == {pair.pk for pair in pairs}


def test_an_embedder_that_says_nothing_is_named_by_its_error() -> None:
    rows.sft_pair()

    def fail(call: int) -> None:
        raise MemoryError

    with pytest.raises(EmbedderFailedError, match=r"after 0 of 1 pairs: MemoryError$"):
        embed_with(Watched(fail))


@pytest.mark.parametrize("model", [SftPair, PreferencePair])
def test_a_text_that_a_person_edits_meanwhile_gets_no_stale_vector(model: type[SftPair] | type[PreferencePair]) -> None:
    pair = rows.sft_pair() if model is SftPair else rows.preference_pair()

    def edit(call: int) -> None:
        fresh = model.objects.get()
        setattr(fresh, "response" if model is SftPair else "chosen", "Biscuit.")
        fresh.prepare()
        fresh.save()

    assert embed_with(Watched(edit)).counts[f"embedded_{'sft' if model is SftPair else 'preference'}"] == 0
    assert not PairEmbedding.objects.exists()

    embedder = FakeEmbedder()
    embed_with(embedder)
    assert len(embedder.encoded) == 1
    assert embedder.encoded[0].endswith("\nBiscuit.")
    assert model.objects.get().embedding.embedder == PRESENT
    assert pair.pk == model.objects.get().pk


def test_a_pair_that_goes_meanwhile_does_not_stop_the_others() -> None:
    gone, kept = rows.sft_pair(response="Pixel."), rows.sft_pair(response="Biscuit.")

    def delete(call: int) -> None:
        SftPair.objects.filter(pk=gone.pk).delete()

    assert embed_with(Watched(delete)).counts["embedded_sft"] == 1
    assert embedded() == {kept.pk}


@pytest.mark.usefixtures("two_a_batch")
def test_what_was_rejected_or_embedded_meanwhile_is_passed_over() -> None:
    pairs = [rows.sft_pair(response=f"Pixel {number}.") for number in range(4)]

    def happens(call: int) -> None:
        if call == 1:
            SftPair.objects.filter(pk=pairs[2].pk).update(review_status="rejected")
            rows.embedding(pairs[3], embedder=PRESENT, vector=bytes(4))

    embedder = Watched(happens)
    assert embed_with(embedder).counts == {"embedded_sft": 2, "embedded_preference": 0, "replaced": 0}
    assert len(embedder.encoded) == 2
    assert bytes(PairEmbedding.objects.get(sft_pair=pairs[3]).vector) == bytes(4)


@pytest.mark.usefixtures("two_a_batch")
def test_whoever_watches_sees_how_far_and_how_fast_it_is() -> None:
    for number in range(3):
        rows.sft_pair(response=f"Pixel {number}.")
    rows.preference_pair()
    shown: list[tuple[str, float]] = []
    embed(replace(night(), progress=lambda text, share: shown.append((text, share))))
    assert [share for _, share in shown] == [0.5, 0.75, 1.0]
    assert shown[0][0].startswith("2 of 4 pairs embedded, ")
    assert shown[0][0].endswith(" a second")
