"""Training runs, and the ledger of what each of them consumed."""

import traceback
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class TrainingRunQuerySet(models.QuerySet["TrainingRun"]):
    """Vocabulary for runs."""

    def running(self) -> "TrainingRunQuerySet":
        """Return runs that have started and not ended."""
        return self.filter(status=TrainingRun.Status.RUNNING)

    def successful(self) -> "TrainingRunQuerySet":
        """Return runs that left an adapter."""
        return self.filter(status=TrainingRun.Status.SUCCEEDED)


class TrainingRun(models.Model):
    """One call of the trainer: its config, its course, its end."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    config_path = models.CharField(max_length=1024)
    config = models.JSONField(help_text="The resolved config.")
    status = models.CharField(max_length=11, choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    steps = models.PositiveIntegerField(default=0, help_text="Optimiser steps taken.")
    metrics = models.JSONField(default=dict, blank=True, help_text="Losses, counts and timings by channel.")
    evaluation = models.JSONField(default=dict, blank=True, help_text="Recall, preference accuracy and drift.")
    adapter = models.CharField(max_length=1024, blank=True, help_text="Folder of the adapter.")
    error = models.TextField(blank=True)
    exception_class = models.CharField(max_length=255, blank=True)
    traceback = models.TextField(blank=True)

    objects = TrainingRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "succeeded", "failed", "interrupted"]),
                name="trainingrun_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} ({self.status})"

    def succeed(self, *, steps: int, metrics: dict[str, Any], evaluation: dict[str, Any], adapter: str) -> None:
        """Record that the adapter is in place."""
        self.status = self.Status.SUCCEEDED
        self.finished_at = timezone.now()
        self.steps, self.metrics, self.evaluation, self.adapter = steps, metrics, evaluation, adapter
        self.save(update_fields=["status", "finished_at", "steps", "metrics", "evaluation", "adapter"])

    def fail(self, error: BaseException) -> None:
        """Record why the run ended without an adapter."""
        self._end(self.Status.FAILED, error)

    def interrupt(self, error: BaseException) -> None:
        """Record that a person stopped the run."""
        self._end(self.Status.INTERRUPTED, error)

    def _end(self, status: "TrainingRun.Status", error: BaseException) -> None:
        self.status = status
        self.finished_at = timezone.now()
        self.error = str(error)
        self.exception_class = f"{type(error).__module__}.{type(error).__qualname__}"
        self.traceback = "".join(traceback.format_exception(error))
        self.save(update_fields=["status", "finished_at", "error", "exception_class", "traceback"])


class PairUse(models.Model):
    """The ledger: one row for each time a run consumed a pair."""

    run = models.ForeignKey(TrainingRun, models.CASCADE, related_name="uses")
    sft_pair = models.ForeignKey("memory.SftPair", models.CASCADE, null=True, blank=True, related_name="uses")
    preference_pair = models.ForeignKey(
        "memory.PreferencePair", models.CASCADE, null=True, blank=True, related_name="uses"
    )
    step = models.PositiveIntegerField(help_text="Optimiser step, from 1.")
    epoch = models.PositiveIntegerField(help_text="Pass over the channel's pool, from 0.")
    weight = models.FloatField(help_text="Weight of the batch in the step's loss.")
    content_hash = models.CharField(max_length=64, help_text="Hash of the text as it was trained.")
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        verbose_name = "use of a pair"
        verbose_name_plural = "uses of pairs"
        constraints = [
            models.CheckConstraint(
                condition=Q(sft_pair__isnull=False, preference_pair__isnull=True)
                | Q(sft_pair__isnull=True, preference_pair__isnull=False),
                name="pairuse_of_exactly_one_pair",
            ),
            models.CheckConstraint(condition=Q(step__gte=1), name="pairuse_step_from_one"),
        ]

    def __str__(self) -> str:
        return f"run {self.run_id} step {self.step}"
