"""Files of pairs that left the database."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from maintenance.models.runs import MaintenanceRun


class ArchiveFile(models.Model):
    """One compressed JSON lines file with pairs that were taken out of the database, to be restored as they were."""

    run = models.ForeignKey(MaintenanceRun, models.SET_NULL, null=True, blank=True, related_name="archive_files")
    path = models.CharField(max_length=1024, unique=True, help_text="Under ARTIFACTS_DIR.")
    sha256 = models.CharField(max_length=64)
    sft_pairs = models.PositiveIntegerField(default=0)
    preference_pairs = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the last of its pairs had left the database; empty until then."
    )
    restored_at = models.DateTimeField(null=True, blank=True, help_text="When all of its pairs were back.")

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=~Q(path=""), name="archivefile_has_a_path")]

    def __str__(self) -> str:
        return self.path
