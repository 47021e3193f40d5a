"""Clusterings taken back, and those that were left half way completed."""

from __future__ import annotations

from django.utils import timezone

from maintenance.clustering.column import differing, write_column
from maintenance.clustering.labels import Labels, no_labels, unpack
from maintenance.models import Clustering, MaintenanceRun, RowChange
from memory.models import PairEmbedding

_ROWS_READ = 10_000


def present_clustering(*, using: str) -> Clustering | None:
    """Return the clustering that is in use: the newest one that is not undone."""
    return Clustering.objects.using(using).filter(undone_at=None).order_by("-pk").first()


def kept_labels(clustering: Clustering | None) -> Labels:
    """Return the labels that a clustering keeps: none where it is too old, or there is no clustering."""
    return no_labels() if clustering is None or clustering.labels is None else unpack(bytes(clustering.labels))


def restore_previous(run: MaintenanceRun, *, using: str) -> None:
    """Undo the clustering of a night: if it is the one in use, what was in the column before goes back.

    That is the clustering before it, with what nights have assigned since. Embeddings that had no cluster then, and all
    where no earlier clustering keeps its labels, have none again. The clustering counts as undone once the column is as
    it was; a killed undo is completed by the next one, or taken back by the next night.
    """
    own = Clustering.objects.using(using).filter(run=run, undone_at=None)
    present = present_clustering(using=using)
    if present is not None and present.run_id == run.pk:
        write_column(*differing(_labels_before(run, using=using), using=using), using=using)
    own.update(undone_at=timezone.now())


def _labels_before(run: MaintenanceRun, *, using: str) -> Labels:
    """Return what was in the column before the clustering of a night."""
    earlier = Clustering.objects.using(using).filter(undone_at=None).exclude(run=run).order_by("-pk").first()
    labels = kept_labels(earlier)
    if earlier is None or earlier.labels is None or earlier.run_id is None:
        return labels
    changes = RowChange.objects.using(using).filter(
        table=PairEmbedding._meta.label_lower, undone_at=None, run__gt=earlier.run_id, run__lt=run.pk
    )
    assigned = changes.order_by("pk").values_list("row_id", "after").iterator(chunk_size=_ROWS_READ)
    return labels.with_clusters({row: after["cluster"] for row, after in assigned if "cluster" in after})
