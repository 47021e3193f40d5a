"""What a person decided for all rows of a filter at once, with what was there before."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

# The history of a pair names the decision and its reason in at most 100 characters.
MAX_REASON_LENGTH = 60


class BulkDecision(models.Model):
    """One decision for many pairs; done and undone in slices, so that nobody else waits long for the database."""

    class Channel(models.TextChoices):
        SFT = "sft", "memory"
        PREFERENCE = "preference"

    class Action(models.TextChoices):
        APPROVE = "approve"
        REJECT = "reject"
        REOPEN = "reopen", "put back to pending"
        REEMIT = "reemit", "re-emit"
        UNARCHIVE = "unarchive", "take out of the archive"

    channel = models.CharField(max_length=10, choices=Channel)
    action = models.CharField(max_length=9, choices=Action)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(default=timezone.now)
    is_selection = models.BooleanField(default=False, help_text="Whether the rows were chosen one by one.")
    query = models.TextField(blank=True, help_text="The filter as in the address; empty for all rows.")
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    lowest_id = models.BigIntegerField(help_text="No pair below this number is meant.")
    next_id = models.BigIntegerField(help_text="Pairs up to this number are still to be decided, newest first.")
    changed = models.PositiveIntegerField(default=0, help_text="Pairs that were not so before.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="Empty while pairs are still to be decided.")
    undone_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    undo_began_at = models.DateTimeField(null=True, blank=True)
    restored = models.PositiveIntegerField(default=0, help_text="Pairs that the undoing put back.")
    left_alone = models.PositiveIntegerField(default=0, help_text="Pairs that had been changed since.")
    undone_at = models.DateTimeField(null=True, blank=True, help_text="Empty while pairs are still to be put back.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(channel__in=["sft", "preference"]), name="bulkdecision_channel_known"),
            models.CheckConstraint(
                condition=Q(action__in=["approve", "reject", "reopen", "reemit", "unarchive"]),
                name="bulkdecision_action_known",
            ),
            models.CheckConstraint(
                condition=Q(undone_at__isnull=True) | Q(undo_began_at__isnull=False),
                name="bulkdecision_undone_after_begin",
            ),
        ]

    def __str__(self) -> str:
        return f"bulk {self.pk}: {self.get_action_display()}"

    @property
    def has_more(self) -> bool:
        """Whether a part is still to be done, or to be undone."""
        if self.undo_began_at is not None:
            return self.undone_at is None
        return self.finished_at is None

    @property
    def can_be_undone(self) -> bool:
        """Whether it changed anything, or would still, and nobody has begun to undo it; undoing also stops it."""
        return self.undo_began_at is None and (self.changed > 0 or self.has_more)


class BulkChange(models.Model):
    """What one pair was before a decision for many; rows go when the decision is undone."""

    decision = models.ForeignKey(BulkDecision, models.CASCADE, related_name="changes")
    pair_id = models.BigIntegerField()
    review_status = models.CharField(max_length=8, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    history_id = models.BigIntegerField(null=True, help_text="Record of the decision in the pair's history.")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["decision", "pair_id"], name="bulkchange_pair_once")]

    def __str__(self) -> str:
        return f"pair {self.pair_id} before bulk {self.decision_id}"
