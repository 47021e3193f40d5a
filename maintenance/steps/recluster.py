"""All pairs are divided into topics anew once enough of them are new, or each new one is put to the nearest topic."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maintenance.clustering.column import differing, write_column
from maintenance.clustering.kmeans import fit_centroids, from_stored, nearest, sample, stored
from maintenance.clustering.labels import NO_CLUSTER, Clusters, Keys, Labels, pack
from maintenance.clustering.members import Members, read_members, read_vectors
from maintenance.clustering.numbering import drift, keep_numbers
from maintenance.clustering.restoring import kept_labels, present_clustering
from maintenance.clustering.topics import coverage, measure_clusters, name_clusters, topic_details
from maintenance.journal import change_rows
from maintenance.models import Clustering
from maintenance.night import ROWS_PER_TRANSACTION, Night, StepOutcome
from memory.embeddings import Vectors
from memory.models import PairEmbedding
from training.sampling.clusters import choose_k


def recluster(night: Night) -> StepOutcome:
    """Divide all pairs into topics anew, or put those without a cluster to the nearest one.

    The first where there is no clustering, where it is of another embedder, or where `min_new_share` of the pairs have
    no cluster. The row of a clustering holds all its labels and is stored before they are written to the embeddings, so
    that what a killed night left unwritten is made up for by the next one. Only labels that change are written.
    """
    version = night.version()
    members = read_members(version=version, using=night.using)
    if len(members) < 2:
        return StepOutcome(skipped=f"got {len(members)} pairs with an embedding, allowed are 2 or more")
    present = present_clustering(using=night.using)
    labels = kept_labels(present)
    completed = _completed(members, labels)
    is_new: npt.NDArray[np.bool_] = completed.clusters == NO_CLUSTER
    if present is None or present.embedder != version or is_new.mean() >= night.config.recluster.min_new_share:
        return _cluster_anew(night, members, present, labels, version)
    is_unwritten = completed.clusters != members.clusters
    written = write_column(
        members.embeddings[is_unwritten], completed.clusters[is_unwritten], using=night.using, progress=night.progress
    )
    assigned, clusters = _assign(night, completed, is_new, present, version)
    members = completed.in_clusters(clusters)
    return StepOutcome(
        counts={"clustered": written, "assigned": assigned, "clusters": present.k, "reclustered": 0},
        details=topic_details(measure_clusters(members, present.clusters), present.clusters, drift=None),
    )


def _completed(members: Members, labels: Labels) -> Members:
    """Return the members in the clusters that `labels` say they are in, whether or not that was written."""
    known = labels.of_embeddings(members.embeddings)
    return members.in_clusters(np.where(known == NO_CLUSTER, members.clusters, known))


def _cluster_anew(
    night: Night, members: Members, present: Clustering | None, before: Labels, version: str
) -> StepOutcome:
    k = choose_k(len(members), night.config.recluster.k)
    chosen = sample(len(members), k=k)
    vectors = np.concatenate([each for _, each in read_vectors(members.embeddings[chosen], using=night.using)])
    night.progress(f"centroids of {len(vectors):,} pairs", 0.0)
    members, centroids = _divided(night, members, fit_centroids(vectors, k=k))
    had = before.of_pairs(members.pairs)
    then = [] if present is None else present.clusters
    numbers = keep_numbers(members.clusters, had, used={topic["number"] for topic in then})
    members = members.in_clusters(numbers[members.clusters])
    order = np.argsort(numbers)
    topics = measure_clusters(members, name_clusters(members, numbers[order].tolist(), using=night.using))
    moved = drift(members.clusters, had)
    labels = Labels(members.embeddings, members.pairs, members.clusters)
    embeddings, clusters = differing(labels, using=night.using)
    # Of pairs that do not take part, first of all: from here on a label that is not in the row was assigned later.
    takes_part = clusters != NO_CLUSTER
    write_column(embeddings[~takes_part], clusters[~takes_part], using=night.using)
    Clustering(
        run=night.run,
        embedder=version,
        k=len(topics),
        pairs=len(members),
        coverage=coverage(topics),
        drift=moved,
        clusters=topics,
        centroids=stored(centroids[order]),
        labels=pack(labels),
    ).save(using=night.using)
    written = write_column(embeddings[takes_part], clusters[takes_part], using=night.using, progress=night.progress)
    _forget_labels(night)
    return StepOutcome(
        counts={"clustered": written, "assigned": 0, "clusters": len(topics), "reclustered": 1},
        details=topic_details(topics, then, drift=moved),
    )


def _divided(night: Night, members: Members, centroids: Vectors) -> tuple[Members, Vectors]:
    """Return the members in the clusters of the nearest centroids, and those centroids that have any.

    Members whose embedding is gone by now are left out.
    """
    clusters = _nearest(night, members.embeddings, centroids)
    present = members.in_clusters(clusters).of(clusters != NO_CLUSTER)
    used, places = np.unique(present.clusters, return_inverse=True)
    return present.in_clusters(places.astype(np.int32)), centroids[used]


def _nearest(night: Night, embeddings: Keys, centroids: Vectors) -> Clusters:
    clusters = np.full(len(embeddings), NO_CLUSTER, dtype=np.int32)
    for positions, vectors in read_vectors(embeddings, using=night.using):
        clusters[positions] = nearest(vectors, centroids)
        done = int(positions[-1]) + 1
        night.progress(f"{done:,} of {len(embeddings):,} pairs put to a cluster", done / len(embeddings))
    return clusters


def _assign(
    night: Night, members: Members, is_new: npt.NDArray[np.bool_], present: Clustering, version: str
) -> tuple[int, Clusters]:
    """Put new members to the nearest cluster, in the journal; return how many, and everybody's clusters."""
    numbers = np.array([each["number"] for each in present.clusters], dtype=np.int32)
    new = members.embeddings[is_new]
    rows = _nearest(night, new, from_stored(bytes(present.centroids), k=present.k))
    found = np.where(rows == NO_CLUSTER, NO_CLUSTER, numbers[rows])
    waiting = PairEmbedding.objects.using(night.using).filter(embedder=version, cluster=None)
    assigned = 0
    for start in range(0, len(new), ROWS_PER_TRANSACTION):
        portion = slice(start, start + ROWS_PER_TRANSACTION)
        labelled = zip(new[portion].tolist(), found[portion].tolist(), strict=True)
        assigned += len(change_rows(night, ["cluster"], [row for row in labelled if row[1] >= 0], among=waiting))
    clusters = members.clusters.copy()
    clusters[is_new] = found
    return assigned, clusters


def _forget_labels(night: Night) -> None:
    """Drop the labels of clusterings that can no longer be put back."""
    stored_ones = Clustering.objects.using(night.using)
    standing = stored_ones.filter(undone_at=None).order_by("-pk").values_list("pk", flat=True)
    kept = list(standing[: night.config.recluster.keep_labels])
    stored_ones.filter(labels__isnull=False).exclude(pk__in=kept).update(labels=None)
