"""Jobs: work that a person asks for at the desk, and a worker does."""

from __future__ import annotations

import traceback
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from maintenance.models import MaintenanceRun
from training.models import TrainingRun

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# A job says every few seconds that it lives; a writer may wait a minute for another one's transaction (SQLite).
DEAD_AFTER = timedelta(seconds=120)
_TAKEN_FOR_DEAD = f"no sign of life for more than {DEAD_AFTER.seconds} seconds: its process is taken for dead"
# Jobs are the record of who has asked for what.
KEPT_FOR = timedelta(days=365)
# Lines that a job said on its way: the last ones are kept.
MAX_MESSAGES = 50
MAX_PROGRESS_LENGTH = 255


class JobQuerySet(models.QuerySet["Job"]):
    """Vocabulary for jobs."""

    def open(self) -> JobQuerySet:
        """Return jobs that wait for a worker or are at work."""
        return self.filter(status__in=[Job.Status.QUEUED, Job.Status.RUNNING])

    def waiting(self) -> JobQuerySet:
        """Return jobs that no worker has begun."""
        return self.filter(status=Job.Status.QUEUED)

    def running(self) -> JobQuerySet:
        """Return jobs that are at work, or died without a word."""
        return self.filter(status=Job.Status.RUNNING)

    def succeeded(self) -> JobQuerySet:
        """Return jobs that came to a good end."""
        return self.filter(status=Job.Status.SUCCEEDED)

    def full_extractions(self) -> JobQuerySet:
        """Return extractions of all conversations that came to a good end."""
        # One of a few days only has not seen the rest.
        return self.succeeded().of_kind(Job.Kind.EXTRACTION).filter(options__since=None)

    def outlived(self, *, now: datetime) -> JobQuerySet:
        """Return jobs that ended too long ago to be kept; the last full extraction says what is new, and stays."""
        last = Job.objects.full_extractions().order_by("-pk").values("pk")[:1]
        return self.filter(finished_at__lt=now - KEPT_FOR).exclude(pk__in=last)

    def of_kind(self, kind: Job.Kind) -> JobQuerySet:
        """Return the jobs of one kind."""
        return self.filter(kind=kind)

    def dead(self, *, now: datetime) -> JobQuerySet:
        """Return jobs that should be at work, and have not said so for too long."""
        return self.running().filter(heartbeat_at__lt=now - DEAD_AFTER)

    def asked_to_stop(self, key: int) -> bool:
        """Return whether a person asked the job `key` to stop, which is at work, if only by its process."""
        at_work = self.filter(status__in=[Job.Status.RUNNING, Job.Status.INTERRUPTED])
        return at_work.filter(pk=key, cancel_requested_at__isnull=False).exists()

    def close_dead(self, *, now: datetime) -> int:
        """Mark dead jobs as interrupted when they last gave a sign of life, so that others of their kind may start.

        Return how many there were.
        """
        return self.dead(now=now).update(
            status=Job.Status.INTERRUPTED, finished_at=F("heartbeat_at"), error=_TAKEN_FOR_DEAD
        )


class Job(models.Model):
    """One piece of work for the worker: what was asked for, by whom, how far it is, how it ended."""

    class Kind(models.TextChoices):
        EXTRACTION = "extraction", "extraction"
        PLAN = "plan", "training plan"
        TRAINING = "training", "training"
        NIGHT = "night", "night"

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    kind = models.CharField(max_length=10, choices=Kind)
    options = models.JSONField(default=dict, blank=True, help_text="What was chosen on the start page.")
    status = models.CharField(max_length=11, choices=Status, default=Status.QUEUED)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    cancelled_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True, help_text="When its process last said that it lives.")
    host = models.CharField(max_length=255, blank=True, help_text="Machine of its process.")
    pid = models.PositiveIntegerField(null=True, blank=True, help_text="Number of its process.")
    progress_text = models.CharField(max_length=MAX_PROGRESS_LENGTH, blank=True)
    progress_share = models.FloatField(null=True, blank=True, help_text="0 to 1; empty where it cannot be told.")
    messages = models.JSONField(default=list, blank=True, help_text="What it said on its way, the last lines.")
    result = models.JSONField(default=dict, blank=True)
    training_run = models.ForeignKey(TrainingRun, models.SET_NULL, null=True, blank=True, related_name="+")
    maintenance_run = models.ForeignKey(MaintenanceRun, models.SET_NULL, null=True, blank=True, related_name="+")
    error = models.TextField(blank=True)
    exception_class = models.CharField(max_length=255, blank=True)
    traceback = models.TextField(blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["extraction", "plan", "training", "night"]), name="job_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]),
                name="job_status_known",
            ),
            models.CheckConstraint(
                condition=Q(progress_share__isnull=True) | Q(progress_share__gte=0, progress_share__lte=1),
                name="job_share_in_unit_interval",
            ),
            models.UniqueConstraint(
                fields=["kind"], condition=Q(status__in=["queued", "running"]), name="job_one_open_of_a_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    @property
    def title(self) -> str:
        """Its number and its kind."""
        return f"job {self.pk}: {self.get_kind_display()}"

    @property
    def is_open(self) -> bool:
        """Whether it waits for a worker or is at work."""
        return self.status in (self.Status.QUEUED, self.Status.RUNNING)

    @property
    def is_dead(self) -> bool:
        """Whether it should be at work, and has not said so for too long."""
        return (
            self.status == self.Status.RUNNING
            and self.heartbeat_at is not None
            and self.heartbeat_at < timezone.now() - DEAD_AFTER
        )

    @property
    def duration(self) -> timedelta | None:
        """How long it has worked, to the second, a dead one to its last sign of life; None before its start."""
        if self.started_at is None:
            return None
        end = self.finished_at or (self.heartbeat_at if self.is_dead else None) or timezone.now()
        return timedelta(seconds=round((end - self.started_at).total_seconds()))

    def begin(self, *, host: str) -> bool:
        """Record that a worker has taken the job; False where it no longer waits."""
        now = timezone.now()
        waiting = Job.objects.filter(pk=self.pk, status=self.Status.QUEUED)
        begun = waiting.update(status=self.Status.RUNNING, started_at=now, heartbeat_at=now, host=host)
        self.refresh_from_db()
        return begun == 1

    def name_process(self, pid: int) -> None:
        """Record which process works on the job."""
        self.pid = pid
        self.save(update_fields=["pid"])

    def beat(self, **progress: Any) -> None:
        """Record that the job's process lives, with the fields of its `progress` that changed."""
        Job.objects.filter(pk=self.pk).update(heartbeat_at=timezone.now(), **progress)

    def cancel(self, *, user: User | AnonymousUser) -> bool:
        """Record that `user` wants the job to stop; False where it has ended.

        One that waits is cancelled at once, one that is dead is closed; one that is at work is told by its worker. The
        first wish stays on record.
        """
        with transaction.atomic():
            job = Job.objects.select_for_update().get(pk=self.pk)
            if not job.is_open:
                return False
            if job.cancel_requested_at is None:
                job.cancelled_by_id, job.cancel_requested_at = user.pk, timezone.now()
            if job.status == self.Status.QUEUED:
                job.status, job.finished_at = self.Status.CANCELLED, job.cancel_requested_at
            elif job.is_dead:
                job.status, job.finished_at, job.error = self.Status.INTERRUPTED, job.heartbeat_at, _TAKEN_FOR_DEAD
            job.save(update_fields=["cancelled_by", "cancel_requested_at", "status", "finished_at", "error"])
        self.refresh_from_db()
        return True

    def succeed(self, result: dict[str, Any]) -> None:
        """Record what the job came to."""
        self._end(self.Status.SUCCEEDED, result=result, progress_share=1.0)

    def fail(self, error: BaseException | str, *, result: dict[str, Any] | None = None) -> None:
        """Record why the job ended badly, with what it came to all the same."""
        self._end(self.Status.FAILED, result=result or {}, **_reason(error))

    def stop(self, error: BaseException | str) -> None:
        """Record that the job was stopped: cancelled where a person asked for it, else interrupted."""
        asked = Job.objects.filter(pk=self.pk, cancel_requested_at__isnull=False).exists()
        self._end(self.Status.CANCELLED if asked else self.Status.INTERRUPTED, error=str(error))

    def _end(self, status: Job.Status, **fields: Any) -> None:
        # One that was taken for dead, and turns out to have lived, has the last word; what has ended otherwise stands.
        may_end = Job.objects.filter(pk=self.pk, status__in=[self.Status.RUNNING, self.Status.INTERRUPTED])
        may_end.update(**{"status": status, "finished_at": timezone.now(), "error": "", **fields})
        self.refresh_from_db()


def _reason(error: BaseException | str) -> dict[str, str]:
    if isinstance(error, str):
        return {"error": error}
    return {
        "error": str(error) or type(error).__name__,
        "exception_class": f"{type(error).__module__}.{type(error).__qualname__}",
        "traceback": "".join(traceback.format_exception(error)),
    }
