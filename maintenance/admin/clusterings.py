"""Clusterings: the topics of the memory over time."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from maintenance.models import Clustering, MaintenanceRun
from memory.admin.base import MachineWrittenAdmin, link_to, moment
from memory.admin.filters import ClusterFilter


@admin.register(Clustering)
class ClusteringAdmin(MachineWrittenAdmin):
    """How the pairs were divided into topics, and how far that moved."""

    list_display = ["id", moment("created_at"), "k", "pairs", "shown_coverage", "shown_drift", moment("undone_at")]
    search_fields = ["embedder"]
    search_help_text = "Embedder"
    fields = [
        "created_at",
        "shown_run",
        "embedder",
        "k",
        "pairs",
        "shown_coverage",
        "shown_drift",
        "undone_at",
        "shown_clusters",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Clustering]:
        """Return the clusterings without labels and centroids, which no page shows."""
        rows: QuerySet[Clustering] = super().get_queryset(request)
        return rows.defer("labels", "centroids")

    @display(description="coverage", ordering="coverage")
    def shown_coverage(self, row: Clustering) -> str:
        """Return the share of the clusters that hold an unused pair."""
        return f"{row.coverage:.0%}"

    @display(description="drift", ordering="drift")
    def shown_drift(self, row: Clustering) -> str:
        """Return the share of the pairs that changed their cluster."""
        return "-" if row.drift is None else f"{row.drift:.1%}"

    @display(description="night", ordering="run")
    def shown_run(self, row: Clustering) -> str:
        """Return a link to the night."""
        return link_to(MaintenanceRun, row.run_id)

    @display(description="clusters")
    def shown_clusters(self, row: Clustering) -> SafeString:
        """Return the clusters, each with links to its embeddings and to the pairs that it has now."""
        page, memory, preferences = (
            reverse(f"admin:memory_{model}_changelist") for model in ("pairembedding", "sftpair", "preferencepair")
        )
        rows = (
            (
                f"{page}?cluster_from={found['number']}&cluster_to={found['number']}",
                found["number"],
                found["title"],
                f"{found['size']:,}",
                f"{found['unused']:,}",
                f"{memory}?cluster={found['number']}",
                f"{preferences}?cluster={found['number']}",
            )
            for found in row.clusters
        )
        return format_html(
            '<table class="desk-table"><thead><tr><th>cluster</th><th>title</th><th>pairs</th><th>unused</th>'
            "<th>lists</th></tr></thead><tbody>{}</tbody></table>",
            format_html_join(
                "",
                '<tr><td><a href="{}" class="text-link">{}</a></td><td>{}</td><td class="desk-number">{}</td>'
                '<td class="desk-number">{}</td><td><a href="{}" class="text-link">memory</a>,'
                ' <a href="{}" class="text-link">preferences</a></td></tr>',
                rows,
            ),
        )


def topic_name(number: int) -> str:
    """Return the title of a cluster of the clustering in use; "" where it has none of that number."""
    standing = Clustering.objects.filter(undone_at=None).order_by("-pk").values_list("clusters", flat=True).first()
    return next((str(found["title"]) for found in standing or [] if found["number"] == number), "")


ClusterFilter.name_of = staticmethod(topic_name)
