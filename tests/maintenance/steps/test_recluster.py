"""Topics over all pairs: found anew once enough is new, else every new pair goes to the nearest one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import transaction

from maintenance.clustering import column as writing
from maintenance.clustering.kmeans import fit_centroids, from_stored, nearest
from maintenance.clustering.labels import unpack
from maintenance.clustering.restoring import present_clustering
from maintenance.models import Clustering, MaintenanceRun, RowChange
from maintenance.night import Night, StepOutcome
from maintenance.rehearsal import rehearsal
from maintenance.steps import recluster as step
from maintenance.steps.recluster import recluster
from maintenance.undo import undo
from memory.bulk import update_rows
from memory.embeddings import from_bytes
from memory.models import PairEmbedding, SftPair
from tests.maintenance import nights
from tests.maintenance.clustering.stored import (
    VERSION,
    clusters_of,
    column,
    embedded,
    memories,
    preferences,
    vectors_of,
)
from tests.memory import rows

pytestmark = pytest.mark.django_db


def night(k: int | str = 3, *, new_share: float = 0.5, keep_labels: int = 7, **fields: Any) -> Night:
    config = {"k": k, "min_new_share": new_share, "keep_labels": keep_labels}
    return nights.night("recluster", recluster=config, **fields)


def clustered(k: int | str = 3, **fields: Any) -> tuple[StepOutcome, Clustering]:
    """Take the step; return what it did, and the clustering that is in use then."""
    outcome = recluster(night(k, **fields))
    present = present_clustering(using="default")
    assert present is not None
    return outcome, present


def undone(run: MaintenanceRun) -> list[Any]:
    return list(undo(run, artifacts=Path("/nowhere"), using="default").refused)


def counts(clustered: int, assigned: int, clusters: int, reclustered: int) -> dict[str, int]:
    return {"clustered": clustered, "assigned": assigned, "clusters": clusters, "reclustered": reclustered}


@pytest.fixture
def two_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_ROWS_WRITTEN", 2)
    monkeypatch.setattr(step, "ROWS_PER_TRANSACTION", 2)


def dies_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die before a transaction that writes labels, counted from 1."""
    calls = 0

    def dying(*arguments: Any, **named: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == call:
            raise SystemExit("killed")
        return update_rows(*arguments, **named)

    monkeypatch.setattr(writing, "update_rows", dying)


def test_pairs_of_both_channels_are_divided_by_topic() -> None:
    bread = memories(0, 4, instruction="How do I bake sourdough bread?", response="With flour.")
    dogs = memories(
        1,
        3,
        instruction="What is my dog called?",
        response="The dog is Pixel.",
        is_used=True,
        used_timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        training_epoch=0,
    )
    dogs += preferences(1, 2, prompt=[{"role": "user", "content": "My dog?"}], chosen="Pixel the dog.")

    outcome, found = clustered(2)

    assert outcome.counts == counts(9, 0, 2, 1)
    (of_bread,), (of_dogs,) = clusters_of(bread), clusters_of(dogs)
    assert {of_bread, of_dogs} == {0, 1}
    topics = {topic["number"]: topic for topic in found.clusters}
    assert topics[of_bread] == {
        "number": of_bread,
        "title": "bake bread flour",
        "size": 4,
        "sft": 4,
        "preference": 0,
        "unused": 4,
    }
    assert topics[of_dogs] == {
        "number": of_dogs,
        "title": "dog pixel called",
        "size": 5,
        "sft": 3,
        "preference": 2,
        "unused": 2,
    }
    assert (found.k, found.pairs, found.coverage, found.drift) == (2, 9, 1.0, None)
    assert (found.embedder, found.run_id, found.undone_at) == (VERSION, MaintenanceRun.objects.get().pk, None)
    assert outcome.details["largest"][0] == {"number": of_dogs, "title": "dog pixel called", "pairs": 5}
    assert outcome.details["notes"] == ["Largest topics: dog pixel called (5), bake bread flour (4)"]
    # Labels are kept as a whole, not row by row.
    assert not RowChange.objects.exists()


def test_every_stored_label_is_that_of_the_nearest_stored_centroid() -> None:
    """Pairs that come later are put by the same rule."""
    rng = np.random.default_rng(0)
    for vector in rng.normal(size=(120, 16)):
        embedded(rows.sft_pair(), vector / np.linalg.norm(vector))
    _, found = clustered("auto")
    stored = list(PairEmbedding.objects.order_by("pk"))
    vectors = from_bytes([bytes(each.vector) for each in stored], dimension=16)
    numbers = np.array([topic["number"] for topic in found.clusters])
    nearest_ones = numbers[nearest(vectors, from_stored(bytes(found.centroids), k=found.k))]
    assert [each.cluster for each in stored] == nearest_ones.tolist()
    assert found.labels is not None
    labels = unpack(bytes(found.labels))
    assert labels.embeddings.tolist() == [each.pk for each in stored]
    assert labels.clusters.tolist() == [each.cluster for each in stored]
    assert found.k == len(set(nearest_ones.tolist())) == 20


def test_the_same_pairs_have_the_same_clusters() -> None:
    rng = np.random.default_rng(0)
    for vector in rng.normal(size=(80, 16)):
        embedded(rows.sft_pair(), vector / np.linalg.norm(vector))
    clustered("auto")
    before = column()
    outcome, found = clustered("auto", new_share=0)
    assert outcome.counts == counts(0, 0, 20, 1)
    assert (column(), found.drift) == (before, 0.0)


def test_clusters_keep_their_numbers_as_far_as_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [memories(topic, 4) for topic in range(4)]
    clustered(4)
    before = column()
    monkeypatch.setattr(step, "fit_centroids", lambda *given, **named: fit_centroids(*given, **named)[[2, 0, 3, 1]])
    outcome, found = clustered(4, new_share=0)
    assert outcome.counts == counts(0, 0, 4, 1)
    assert (column(), found.drift) == (before, 0.0)
    assert [topic["number"] for topic in found.clusters] == [0, 1, 2, 3]
    centroids = from_stored(bytes(found.centroids), k=4)
    assert [int(centroids[next(iter(clusters_of(each)))].argmax()) for each in stored] == [0, 1, 2, 3]


def test_drift_is_what_moved_of_the_pairs_that_were_there_before() -> None:
    memories(0, 6), memories(1, 2)
    clustered(2)
    before = {pk: cluster for pk, cluster in column().items() if cluster is not None}
    memories(2, 4)
    # Two clusters for three topics: the two smaller ones share one.
    outcome, found = clustered(3, new_share=0.2)
    assert outcome.counts == counts(4, 0, 3, 1)
    assert found.drift == 0.0
    assert {pk: column()[pk] for pk in before} == before
    assert max(cluster or 0 for cluster in column().values()) == 2
    outcome, found = clustered(2, new_share=0)
    moved = sum(column()[pk] != cluster for pk, cluster in before.items())
    assert found.k == 2
    assert found.drift is not None
    assert found.drift > 0
    assert outcome.details["drift"] == found.drift
    assert outcome.counts["clustered"] >= moved


def test_a_few_new_pairs_go_to_the_nearest_cluster() -> None:
    bread, dogs = memories(0, 6), memories(1, 6)
    clustered(2)
    new = memories(1, 2, seed=3)
    (preference,) = preferences(0, 1)
    tonight = night(2)
    outcome = recluster(tonight)
    assert outcome.counts == counts(0, 3, 2, 0)
    assert clusters_of(new) == clusters_of(dogs)
    assert clusters_of([preference]) == clusters_of(bread)
    assert Clustering.objects.count() == 1
    assert [line["pairs"] for line in outcome.details["largest"]] == [8, 7]
    assert [line["pairs"] for line in outcome.details["grown"]] == [2, 1]
    assert (outcome.details["coverage"], outcome.details["drift"]) == (1.0, None)
    assert recluster(night(2)).counts == counts(0, 0, 2, 0)
    assert undone(tonight.run) == []
    assert clusters_of([*new, preference]) == {None}


@pytest.mark.usefixtures("two_a_transaction")
def test_what_somebody_labelled_or_deleted_meanwhile_is_not_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    memories(0, 6), memories(1, 6)
    clustered(2)
    taken, gone, kept = memories(0, 3, seed=3)

    def meanwhile(*given: Any) -> Any:
        PairEmbedding.objects.filter(pk=taken.pk).update(cluster=9)
        gone.delete()
        return nearest(*given)

    monkeypatch.setattr(step, "nearest", meanwhile)
    assert recluster(night(2)).counts == counts(0, 1, 2, 0)
    assert RowChange.objects.get().row_id == kept.pk
    assert column()[taken.pk] == 9


def test_new_pairs_get_the_numbers_that_the_clusters_have_kept() -> None:
    gone, kept = memories(0, 6), memories(1, 6)
    clustered(2)
    (of_gone,) = clusters_of(gone)
    PairEmbedding.objects.filter(pk__in=[each.pk for each in gone]).delete()
    other = memories(2, 6)
    _, found = clustered(2)
    assert clusters_of(other) == {2}
    assert of_gone not in {topic["number"] for topic in found.clusters}
    new = memories(1, 1, seed=3), memories(2, 1, seed=3)
    assert recluster(night(2)).counts == counts(0, 2, 2, 0)
    assert [clusters_of(each) for each in new] == [clusters_of(kept), {2}]


@pytest.mark.parametrize(("new", "reclustered"), [(3, 0), (4, 1)])
def test_it_clusters_anew_once_enough_is_new(new: int, reclustered: int) -> None:
    memories(0, 6), memories(1, 6)
    clustered(2)
    memories(0, new, seed=5)
    outcome, _ = clustered(2, new_share=0.25)
    assert outcome.counts["reclustered"] == reclustered
    assert Clustering.objects.count() == 1 + reclustered


def test_another_embedder_means_other_clusters_with_the_same_numbers() -> None:
    stored = [memories(topic, 5) for topic in range(3)]
    _, first = clustered(3)
    before = [next(iter(clusters_of(each))) for each in stored]
    pairs = [[each.sft_pair for each in of_topic] for of_topic in stored]
    PairEmbedding.objects.all().delete()
    # Other directions, and another length.
    anew = []
    for topic, of_topic in enumerate(pairs):
        vectors = np.eye(24)[[10 + topic] * 5] + np.random.default_rng(topic).normal(size=(5, 24), scale=0.01)
        anew.append(
            [
                embedded(pair, vector, embedder="new/24")
                for pair, vector in zip(of_topic, vectors, strict=True)
                if pair is not None
            ]
        )

    # A label of the old embedder means nothing.
    PairEmbedding.objects.filter(pk__in=[each.pk for each in anew[0]]).update(cluster=before[1])

    outcome = recluster(replace(night(3, new_share=1.0), version=lambda: "new/24"))

    assert outcome.counts == counts(15, 0, 3, 1)
    assert [next(iter(clusters_of(each))) for each in anew] == before
    second = Clustering.objects.latest("pk")
    assert (second.embedder, second.drift) == ("new/24", 0.0)
    assert second.pk != first.pk


def test_pairs_that_do_not_take_part_have_no_cluster() -> None:
    kept = memories(0, 3) + memories(1, 3)
    clustered(2)
    assert kept[0].sft_pair is not None
    SftPair.objects.filter(pk=kept[0].sft_pair.pk).update(review_status="rejected")
    old = embedded(rows.sft_pair(), vectors_of(0, 1)[0], embedder="old", cluster=1)
    # Until they are clustered anew everything stays.
    recluster(night(2))
    assert None not in clusters_of([kept[0], old])
    _, found = clustered(2, new_share=0)
    assert clusters_of([kept[0], old]) == {None}
    assert found.pairs == 5
    SftPair.objects.filter(pk=kept[0].sft_pair.pk).update(review_status="pending")
    assert recluster(night(2)).counts == counts(0, 1, 2, 0)
    assert clusters_of(kept[:1]) == clusters_of(kept[1:3])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_are_no_topics(count: int) -> None:
    memories(0, count)
    outcome = recluster(night())
    assert outcome.skipped == f"got {count} pairs with an embedding, allowed are 2 or more"
    assert not Clustering.objects.exists()


@pytest.mark.parametrize("k", ["auto", 1000])
def test_there_are_never_more_clusters_than_different_vectors(k: int | str) -> None:
    for _ in range(3):
        memories(0, 1), memories(1, 1)
    outcome, found = clustered(k)
    assert outcome.counts == counts(6, 0, 2, 1)
    assert sorted(topic["size"] for topic in found.clusters) == [3, 3]


def test_a_vector_without_a_direction_stops_nobody() -> None:
    memories(0, 3), memories(1, 3)
    for content in (bytes(32), np.full(16, np.nan, dtype="<f2").tobytes()):
        rows.embedding(rows.sft_pair(), embedder=VERSION, dimension=16, vector=content)
    outcome, _ = clustered(3)
    assert outcome.counts["clustered"] == 8


@pytest.mark.usefixtures("two_a_transaction")
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_a_killed_night_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The first transaction takes the cluster of a pair that is archived; then come those of the labels."""
    gone = embedded(rows.sft_pair(archived_at=datetime(2026, 1, 1, tzinfo=UTC)), vectors_of(0, 1)[0], cluster=9)
    stored = [memories(topic, 2) for topic in range(3)]
    with transaction.atomic():
        clustered(3)
        whole = column()
        transaction.set_rollback(True)
    dies_at(call, monkeypatch)
    if call < 5:
        with pytest.raises(SystemExit):
            recluster(night(3))
        assert column() != whole
    else:
        recluster(night(3))
    monkeypatch.setattr(writing, "update_rows", update_rows)
    outcome = recluster(night(3))
    written = sum(cluster is not None for cluster in whole.values())
    # Killed before the row of the clustering was there, it begins again; later on it completes what is left.
    expected = counts(written, 0, 3, 1) if call == 1 else counts(max(written - 2 * (call - 2), 0), 0, 3, 0)
    assert outcome.counts == expected
    assert column() == whole
    assert column()[gone.pk] is None
    assert Clustering.objects.count() == 1
    assert len({cluster for each in stored for cluster in clusters_of(each)}) == 3
    assert recluster(night(3)).counts == counts(0, 0, 3, 0)


@pytest.mark.usefixtures("two_a_transaction")
def test_a_killed_night_can_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    memories(0, 3), memories(1, 3)
    clustered(2)
    before = column()
    memories(2, 6)
    with_new = column()
    dies_at(2, monkeypatch)
    dying = night(3)
    with pytest.raises(SystemExit):
        recluster(dying)
    monkeypatch.setattr(writing, "update_rows", update_rows)
    assert column() != with_new
    assert undone(dying.run) == []
    assert column() == with_new
    assert {pk: column()[pk] for pk in before} == before


def test_an_undone_night_leaves_the_clusters_from_before() -> None:
    memories(0, 3), memories(1, 3)
    first = night(2)
    recluster(first)
    before = column()
    taken_back, assigned = memories(0, 1, seed=5), memories(1, 1, seed=6)
    recluster(night(2))
    assert taken_back[0].sft_pair is not None
    SftPair.objects.filter(pk=taken_back[0].sft_pair.pk).update(review_status="rejected")
    memories(2, 8)
    between = column()
    assert None not in clusters_of([*taken_back, *assigned])
    second = night(3)
    assert recluster(second).counts["reclustered"] == 1
    assert undone(second.run) == []
    assert column() == between
    assert undone(first.run) == []
    assert set(column().values()) == {None}
    # The next night finds none that stands.
    outcome, found = clustered(3)
    assert outcome.counts == counts(15, 0, 3, 1)
    assert found.drift is None
    assert len(before) == 6


def test_what_was_assigned_and_taken_back_does_not_return_with_the_clusters_from_before() -> None:
    memories(0, 6)
    alike = memories(1, 6)
    recluster(night(2))
    assigned = memories(1, 1, seed=6)
    between = night(2)
    recluster(between)
    last = night(2, new_share=0)
    recluster(last)
    assert undone(last.run) == []
    assert clusters_of(assigned) == clusters_of(alike)
    assert undone(between.run) == []
    assert clusters_of(assigned) == {None}
    again = night(2, new_share=0)
    recluster(again)
    assert clusters_of(assigned) == clusters_of(alike)
    assert undone(again.run) == []
    assert clusters_of(assigned) == {None}


def test_what_was_assigned_before_the_clusters_from_before_does_not_return_with_them() -> None:
    memories(0, 6), memories(1, 6)
    recluster(night(2))
    (assigned,) = memories(1, 1, seed=6)
    recluster(night(2))
    assert assigned.sft_pair is not None
    SftPair.objects.filter(pk=assigned.sft_pair.pk).update(review_status="rejected")
    recluster(night(2, new_share=0))
    last = night(2, new_share=0)
    recluster(last)
    assert undone(last.run) == []
    assert clusters_of([assigned]) == {None}


def test_the_newest_clusterings_keep_their_labels() -> None:
    memories(0, 3), memories(1, 3)
    runs = []
    for _ in range(3):
        tonight = night(2, new_share=0, keep_labels=2)
        recluster(tonight)
        runs.append(tonight.run)
    kept = list(Clustering.objects.order_by("pk").values_list("labels", flat=True))
    assert [labels is None for labels in kept] == [True, False, False]
    undone(runs[-1])
    # One that is undone is never put back, and does not count.
    recluster(night(2, new_share=0, keep_labels=2))
    kept = list(Clustering.objects.order_by("pk").values_list("labels", flat=True))
    assert [labels is None for labels in kept] == [True, False, True, False]


def test_labels_that_are_gone_mean_that_all_is_clustered_anew() -> None:
    memories(0, 3), memories(1, 3)
    for _ in range(2):
        tonight = night(2, new_share=0, keep_labels=1)
        recluster(tonight)
    undone(tonight.run)
    assert set(column().values()) == {None}
    outcome, found = clustered(2, new_share=1.0)
    assert outcome.counts == counts(6, 0, 2, 1)
    assert found.drift is None


@pytest.mark.parametrize("kept", [0, 1])
def test_pairs_that_go_meanwhile_are_left_out(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    stored = [memories(0, 4), memories(1, 4)]

    def meanwhile(*given: Any, **named: Any) -> Any:
        found = fit_centroids(*given, **named)
        # A whole topic, too, which is no cluster then.
        gone = [stored[kept][0], *stored[1 - kept]]
        PairEmbedding.objects.filter(pk__in=[each.pk for each in gone]).delete()
        return found

    monkeypatch.setattr(step, "fit_centroids", meanwhile)
    outcome, found = clustered(2)
    assert outcome.counts == counts(3, 0, 1, 1)
    assert (found.k, found.pairs) == (1, 3)
    (centroid,) = from_stored(bytes(found.centroids), k=1)
    assert centroid.shape == (16,)
    assert centroid.argmax() == kept
    assert set(column().values()) == {0}


@pytest.mark.parametrize("new", [0, 2, 12])
def test_a_dry_run_counts_what_the_real_one_does(tmp_path: Path, new: int) -> None:
    memories(0, 6), memories(1, 6)
    if new:
        clustered(2)
        memories(2, new)
    before = column()
    with rehearsal(using="default", folder=tmp_path) as alias:
        rehearsed = recluster(replace(night(3), using=alias, dry_run=True))
    assert column() == before
    assert Clustering.objects.count() == (1 if new else 0)
    real = recluster(night(3))
    assert (rehearsed.counts, rehearsed.details) == (real.counts, real.details)
    assert real.counts["reclustered"] == (new != 2)


def test_whoever_watches_sees_how_far_it_is() -> None:
    memories(0, 3), memories(1, 3)
    shown: list[tuple[str, float]] = []
    recluster(replace(night(2), progress=lambda text, share: shown.append((text, share))))
    assert shown == [
        ("centroids of 6 pairs", 0.0),
        ("6 of 6 pairs put to a cluster", 1.0),
        ("6 of 6 labels written", 1.0),
    ]
