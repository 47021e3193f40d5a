"""The record of an import."""

from django.db import models
from django.utils import timezone


class ImportBatch(models.Model):
    """One file that was read by `import_conversations`."""

    class Status(models.TextChoices):
        COMPLETE = "complete"
        CUT_OFF = "cut_off", "cut off: everything before the damage was kept"

    path = models.CharField(max_length=1024)
    format = models.CharField(max_length=32)
    status = models.CharField(max_length=8, choices=Status, default=Status.COMPLETE)
    imported_at = models.DateTimeField(default=timezone.now)
    conversations = models.PositiveIntegerField(default=0, help_text="Conversations that were new.")
    messages = models.PositiveIntegerField(default=0, help_text="Messages that were new.")
    preference_pairs = models.PositiveIntegerField(default=0, help_text="Preference pairs that were new.")
    already_present = models.PositiveIntegerField(default=0, help_text="Records that brought nothing new.")
    skipped = models.JSONField(default=list, blank=True, help_text="What was left out: where, reason.")
    error = models.CharField(max_length=1024, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "import batches"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["complete", "cut_off"]), name="import_batch_status_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path} ({self.format})"
