"""What a night found and a person has to decide."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from maintenance.models.runs import MaintenanceRun


class ProposalQuerySet(models.QuerySet["Proposal"]):
    """Vocabulary for proposals."""

    def open(self) -> ProposalQuerySet:
        """Return those that wait for a person."""
        return self.filter(status=Proposal.Status.OPEN)


class Proposal(models.Model):
    """Two pairs of one channel that are alike and differ in a fact, so that no machine may merge them."""

    class Kind(models.TextChoices):
        CONTRADICTION = "contradiction", "one question, two answers that cannot both hold"
        CORRECTION = "correction", "the same said again with another fact"

    class Status(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        DISMISSED = "dismissed"

    run = models.ForeignKey(MaintenanceRun, models.SET_NULL, null=True, blank=True, related_name="proposals")
    kind = models.CharField(max_length=13, choices=Kind)
    sft_pair = models.ForeignKey("memory.SftPair", models.CASCADE, null=True, blank=True, related_name="proposals")
    other_sft_pair = models.ForeignKey(
        "memory.SftPair", models.CASCADE, null=True, blank=True, related_name="proposals_against"
    )
    preference_pair = models.ForeignKey(
        "memory.PreferencePair", models.CASCADE, null=True, blank=True, related_name="proposals"
    )
    other_preference_pair = models.ForeignKey(
        "memory.PreferencePair", models.CASCADE, null=True, blank=True, related_name="proposals_against"
    )
    similarity = models.FloatField(help_text="Cosine of the two, in [-1, 1].")
    reason = models.CharField(max_length=255, help_text="The facts in which they differ.")
    status = models.CharField(max_length=9, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)

    objects = ProposalQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    sft_pair__isnull=False,
                    other_sft_pair__isnull=False,
                    preference_pair__isnull=True,
                    other_preference_pair__isnull=True,
                )
                | Q(
                    sft_pair__isnull=True,
                    other_sft_pair__isnull=True,
                    preference_pair__isnull=False,
                    other_preference_pair__isnull=False,
                ),
                name="proposal_of_two_pairs_of_one_channel",
            ),
            models.CheckConstraint(
                condition=(Q(sft_pair__isnull=True) | ~Q(sft_pair=F("other_sft_pair")))
                & (Q(preference_pair__isnull=True) | ~Q(preference_pair=F("other_preference_pair"))),
                name="proposal_of_two_different_pairs",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "accepted", "dismissed"]), name="proposal_status_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=["contradiction", "correction"]), name="proposal_kind_known"),
            models.UniqueConstraint(fields=["sft_pair", "other_sft_pair"], name="proposal_memory_pairs_unique"),
            models.UniqueConstraint(
                fields=["preference_pair", "other_preference_pair"], name="proposal_preference_pairs_unique"
            ),
        ]
        indexes = [models.Index(fields=["status", "-id"], name="proposal_status")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"

    def pair_keys(self, link: str) -> set[int]:
        """Return the keys of its two pairs; empty where they are not of the channel whose column is `link`."""
        found = getattr(self, f"{link}_id"), getattr(self, f"other_{link}_id")
        return {key for key in found if key is not None}
