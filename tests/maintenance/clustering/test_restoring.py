"""A clustering that is undone leaves the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maintenance.clustering import column as writing
from maintenance.clustering import restoring
from maintenance.clustering.column import differing, write_column
from maintenance.clustering.labels import NO_CLUSTER, Labels, pack
from maintenance.clustering.restoring import present_clustering, restore_previous
from maintenance.models import Clustering, MaintenanceRun
from maintenance.undo import undo
from memory.bulk import update_rows
from memory.models import PairEmbedding
from tests.maintenance import nights
from tests.maintenance.clustering.stored import column, memories

pytestmark = pytest.mark.django_db


def labels(embeddings: list[PairEmbedding], clusters: list[int]) -> Labels:
    keys = np.array([each.pk for each in embeddings])
    return Labels(keys, keys * 2, np.array(clusters, np.int32))


def clustering(found: Labels | None, *, run: MaintenanceRun | None = None) -> MaintenanceRun:
    """Store a clustering, and its labels in the column; return its night."""
    night = nights.night("recluster", of=run).run
    packed = None if found is None else pack(found)
    Clustering.objects.create(run=night, embedder="fake/16", k=1, pairs=1, coverage=1.0, centroids=b"", labels=packed)
    if found is not None:
        write_column(*differing(found, using="default"), using="default")
    return night


def test_only_what_differs_is_written_and_all_others_lose_their_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_ROWS_WRITTEN", 2)
    a, b, c, d, e = [memories(0, 1, cluster=cluster)[0] for cluster in (1, 2, 3, None, None)]
    found = labels([a, b, d], [1, 5, 6])
    embeddings, clusters = differing(found, using="default")
    assert embeddings.tolist() == [b.pk, c.pk, d.pk]
    assert clusters.tolist() == [5, NO_CLUSTER, 6]
    shown: list[tuple[str, float]] = []
    d.delete()
    assert write_column(embeddings, clusters, using="default", progress=lambda *seen: shown.append(seen)) == 2
    assert column() == {a.pk: 1, b.pk: 5, c.pk: None, e.pk: None}
    assert shown == [("2 of 3 labels written", 2 / 3), ("3 of 3 labels written", 1.0)]


def test_the_clustering_before_comes_back() -> None:
    stored = memories(0, 4)
    first = clustering(labels(stored[:3], [0, 1, 2]))
    before = column()
    night = clustering(labels(stored, [5, 1, 7, 8]))
    report = undo(night, artifacts=Path("/nowhere"), using="default")
    assert report.restored == {"recluster": {"maintenance.clustering": 1}}
    assert column() == before
    assert Clustering.objects.get(run=night).undone_at is not None
    present = present_clustering(using="default")
    assert present is not None
    assert present.run_id == first.pk


def test_without_a_clustering_before_nobody_has_a_cluster() -> None:
    stored = memories(0, 2)
    restore_previous(clustering(labels(stored, [0, 1])), using="default")
    assert set(column().values()) == {None}
    assert present_clustering(using="default") is None


def test_one_that_was_undone_is_passed_over() -> None:
    stored = memories(0, 2)
    clustering(labels(stored, [0, 1]))
    second, third = clustering(labels(stored, [2, 3])), clustering(labels(stored, [4, 5]))
    restore_previous(second, using="default")
    # It was not in use, so that nothing moves.
    assert list(column().values()) == [4, 5]
    restore_previous(third, using="default")
    assert list(column().values()) == [0, 1]


def test_labels_that_are_no_longer_kept_leave_nobody_with_a_cluster() -> None:
    stored = memories(0, 2)
    clustering(None)
    restore_previous(clustering(labels(stored, [0, 1])), using="default")
    assert set(column().values()) == {None}


def test_what_was_assigned_since_stays_if_an_older_clustering_is_undone() -> None:
    stored = memories(0, 2)
    old = clustering(labels(stored[:1], [0]))
    clustering(labels(stored[:1], [1]))
    PairEmbedding.objects.filter(pk=stored[1].pk).update(cluster=1)
    restore_previous(old, using="default")
    assert list(column().values()) == [1, 1]


def test_a_killed_undo_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = memories(0, 4)
    clustering(labels(stored, [0, 1, 2, 3]))
    before = column()
    night = clustering(labels(stored, [4, 5, 6, 7]))
    monkeypatch.setattr(writing, "_ROWS_WRITTEN", 1)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise SystemExit("killed")
        return update_rows(*arguments, **named)

    monkeypatch.setattr(writing, "update_rows", dying)
    with pytest.raises(SystemExit):
        restore_previous(night, using="default")
    assert list(column().values()) == [0, 1, 6, 7]
    # Until then it is the clustering in use, which a night would complete again.
    present = restoring.present_clustering(using="default")
    assert present is not None
    assert present.run_id == night.pk
    restore_previous(night, using="default")
    assert column() == before
    assert present_clustering(using="default") != present
