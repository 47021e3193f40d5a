"""What nights changed in rows, with what was there before."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from maintenance.models.runs import MaintenanceRun


class RowChange(models.Model):
    """One row that a step of a night changed or made, by table and primary key.

    `before` and `after` hold the changed columns alone; a row that was made has no `before`. What a person changed
    since is told by `history_id`, not by the clock, which may be set back.
    """

    run = models.ForeignKey(MaintenanceRun, models.CASCADE, related_name="changes")
    step = models.CharField(max_length=16)
    table = models.CharField(max_length=64, help_text="Label of the model, such as memory.sftpair.")
    row_id = models.BigIntegerField()
    before = models.JSONField(null=True)
    after = models.JSONField()
    history_id = models.BigIntegerField(default=0, help_text="The table's newest history record at that time.")
    changed_at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=~Q(step=""), name="rowchange_names_its_step"),
        ]
        indexes = [
            models.Index(fields=["run", "step"], name="rowchange_step"),
            models.Index(fields=["table", "row_id"], name="rowchange_row"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.row_id} by {self.step} of night {self.run_id}"
