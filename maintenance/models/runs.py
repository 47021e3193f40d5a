"""Nights, and the steps of each."""

from __future__ import annotations

import traceback
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class MaintenanceRun(models.Model):
    """One call of `nightly_maintenance`."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed", "a step failed"
        INTERRUPTED = "interrupted"

    config_path = models.CharField(max_length=1024)
    config = models.JSONField(help_text="The resolved config.")
    status = models.CharField(max_length=11, choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    report = models.CharField(max_length=1024, blank=True, help_text="Folder of the morning report.")
    error = models.TextField(blank=True, help_text="What went wrong outside the steps.")

    class Meta:
        ordering = ["-id"]
        verbose_name = "night"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "succeeded", "failed", "interrupted"]),
                name="maintenancerun_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"night {self.pk} ({self.status})"

    def finish(self, status: MaintenanceRun.Status, *, error: str = "", using: str) -> None:
        """Record how the night ended."""
        self.status = status
        self.finished_at = timezone.now()
        self.error = error
        self.save(update_fields=["status", "finished_at", "error"], using=using)

    def name_report(self, folder: str, *, using: str) -> None:
        """Record where the morning report lies."""
        self.report = folder
        self.save(update_fields=["report"], using=using)


class MaintenanceStep(models.Model):
    """One step of a night: its course, its end."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        SKIPPED = "skipped", "had nothing that it could do"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    run = models.ForeignKey(MaintenanceRun, models.CASCADE, related_name="steps")
    name = models.CharField(max_length=16)
    status = models.CharField(max_length=11, choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(null=True, blank=True)
    peak_rss_mb = models.FloatField(null=True, blank=True, help_text="Most memory in use during the step, in MB.")
    counts = models.JSONField(default=dict, blank=True, help_text="What was done, by name.")
    details = models.JSONField(default=dict, blank=True, help_text="Examples for the report, marks for the next night.")
    error = models.TextField(blank=True)
    exception_class = models.CharField(max_length=255, blank=True)
    traceback = models.TextField(blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "step of a night"
        verbose_name_plural = "steps of nights"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "succeeded", "skipped", "failed", "interrupted"]),
                name="maintenancestep_status_known",
            ),
            models.UniqueConstraint(fields=["run", "name"], name="maintenancestep_once_a_run"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of night {self.run_id}"

    @property
    def ended_badly(self) -> bool:
        """Whether it failed, or was stopped."""
        return self.status in (self.Status.FAILED, self.Status.INTERRUPTED)

    def end(
        self,
        status: MaintenanceStep.Status,
        *,
        seconds: float | None,
        peak_rss_mb: float | None,
        counts: dict[str, Any],
        details: dict[str, Any],
        error: BaseException | str = "",
        using: str,
    ) -> None:
        """Record how the step ended; an exception leaves its class and traceback."""
        self.status, self.seconds, self.peak_rss_mb = status, seconds, peak_rss_mb
        self.counts, self.details, self.error = counts, details, str(error)
        if isinstance(error, BaseException):
            self.exception_class = f"{type(error).__module__}.{type(error).__qualname__}"
            self.traceback = "".join(traceback.format_exception(error))
        self.save(using=using)

    def undo(self, *, using: str) -> None:
        """Record that what the step changed was put back."""
        self.undone_at = timezone.now()
        self.save(update_fields=["undone_at"], using=using)
