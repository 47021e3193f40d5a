"""How the pairs were divided into topics, night after night."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from maintenance.models.runs import MaintenanceRun


class Clustering(models.Model):
    """One k-means of all embeddings; the newest one that is not undone is the one in `PairEmbedding.cluster`.

    `clusters` lists number, title, size, size by channel and unused pairs of each, by number; row i of `centroids` is
    that of the i-th. `labels` is what `maintenance.clustering.labels` packs and unpacks, so that a clustering can be
    put back.
    """

    run = models.ForeignKey(MaintenanceRun, models.SET_NULL, null=True, blank=True, related_name="clusterings")
    embedder = models.CharField(max_length=128)
    k = models.PositiveIntegerField()
    pairs = models.PositiveIntegerField(help_text="Embeddings that took part.")
    coverage = models.FloatField(help_text="Share of the clusters that hold an unused pair, 0 to 1.")
    drift = models.FloatField(
        null=True, help_text="Share of the pairs that changed their cluster since the last one; null for the first."
    )
    clusters = models.JSONField(default=list)
    centroids = models.BinaryField(help_text="float16, shape (k, dimension).")
    labels = models.BinaryField(null=True, help_text="Every embedding's cluster; null once it is too old to be undone.")
    created_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.k} clusters of {self.pairs} pairs"
