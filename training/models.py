"""Training runs, and the ledger of what each of them consumed."""

from __future__ import annotations

import traceback
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class TrainingRunQuerySet(models.QuerySet["TrainingRun"]):
    """Vocabulary for runs."""

    def successful(self) -> TrainingRunQuerySet:
        """Return runs that left an adapter."""
        return self.filter(status=TrainingRun.Status.SUCCEEDED)

    def unfinished(self) -> TrainingRunQuerySet:
        """Return runs that `--resume` may continue: stopped by a person, or by death without a word."""
        return self.filter(status__in=TrainingRun.UNFINISHED)

    def with_speed(self, *, base_model: str, host: str) -> TrainingRunQuerySet:
        """Return successful runs of this base model on this machine, newest first."""
        return (
            self.successful()
            .filter(config__model_name_or_path=base_model, metrics__host=host, metrics__characters__gt=0)
            .order_by("-id")
        )


class TrainingRun(models.Model):
    """One call of the trainer: its config, its course, its end."""

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    UNFINISHED = (Status.RUNNING, Status.INTERRUPTED)

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

    @property
    def is_unfinished(self) -> bool:
        """Whether `--resume` may continue it, as for `unfinished`."""
        return self.status in self.UNFINISHED

    @property
    def folder_name(self) -> str:
        """The name of the run's folder; the time keeps a new database's first run out of an old one's folder."""
        return f"run-{self.started_at:%Y%m%dT%H%M%SZ}-{self.pk}"

    def advance(self, step: int) -> None:
        """Record that an optimiser step has ended."""
        self.steps = step
        self.save(update_fields=["steps"])

    def resume(self) -> None:
        """Record that the run goes on after an interruption."""
        self.status = self.Status.RUNNING
        self.finished_at = None
        self.error = self.exception_class = self.traceback = ""
        self.save(update_fields=["status", "finished_at", "error", "exception_class", "traceback"])

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

    def discard(self) -> None:
        """Record that a run which ended early will not be continued; what interrupted it stays on record."""
        ended = "was interrupted" if self.status == self.Status.INTERRUPTED else "ended without a word"
        self.status = self.Status.FAILED
        self.finished_at = self.finished_at or timezone.now()
        self.error = f"the process {ended} at step {self.steps}; discarded when the next run began"
        self.save(update_fields=["status", "finished_at", "error"])

    def _end(self, status: TrainingRun.Status, error: BaseException) -> None:
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
    weight = models.FloatField(
        help_text="Weight of the pair in the step's loss: its share of the batch times its channel's factor."
    )
    content_hash = models.CharField(max_length=64, help_text="Hash of the text as it was trained.")
    used_at = models.DateTimeField(default=timezone.now)
    was_used = models.BooleanField(
        null=True,
        blank=True,
        help_text="Whether the pair counted as used when the step took it; unknown where an earlier version wrote it.",
    )
    former_used_timestamp = models.DateTimeField(null=True, blank=True, help_text="Time of the pair's use before this.")
    former_training_epoch = models.PositiveIntegerField(
        null=True, blank=True, help_text="Epoch of the pair's use before this, from 0."
    )

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
            models.UniqueConstraint(fields=["run", "step", "sft_pair"], name="pairuse_memory_pair_once_a_step"),
            models.UniqueConstraint(
                fields=["run", "step", "preference_pair"], name="pairuse_preference_pair_once_a_step"
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.run_id} step {self.step}"
