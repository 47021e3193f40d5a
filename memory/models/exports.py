"""What stays of pairs that left the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from django.db import models
from django.db.models import Q

from memory.bulk import text_list


class ExportedPairQuerySet(models.QuerySet["ExportedPair"]):
    """Vocabulary for exported pairs."""

    def away(self) -> Self:
        """Return those that have not come back."""
        return self.filter(restored_at__isnull=True)

    def hashes(self, channel: str, among: Sequence[str]) -> set[str]:
        """Return those of the content hashes `among` that pairs of the channel have."""
        found = self.filter(channel=channel, content_hash__in=text_list(among, using=self.db))
        return set(found.values_list("content_hash", flat=True))


class ExportedPair(models.Model):
    """What stays of a pair that left the database for an archive file: so much that nobody makes it a second time.

    Without it an extraction would find messages without a pair, and an import texts that are not stored: what a person
    had rejected would come back as new.
    """

    class Channel(models.TextChoices):
        SFT = "sft", "memory"
        PREFERENCE = "preference"

    channel = models.CharField(max_length=10, choices=Channel)
    pair_id = models.BigIntegerField(help_text="The pair's primary key, which it gets back.")
    content_hash = models.CharField(max_length=64)
    message = models.ForeignKey(
        "memory.Message", models.SET_NULL, null=True, related_name="+", help_text="The answer, or the chosen one."
    )
    other_message = models.ForeignKey(
        "memory.Message", models.SET_NULL, null=True, related_name="+", help_text="The rejected answer."
    )
    collapsed = models.JSONField(default=list, help_text="Drafts that the pair stands for.")
    file = models.CharField(max_length=255, help_text="Name of the archive file that has the pair as it was last.")
    restored_at = models.DateTimeField(null=True, help_text="When it came back; empty while it is away.")

    objects = ExportedPairQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "pair_id"], name="exportedpair_once"),
            models.CheckConstraint(condition=Q(channel__in=["sft", "preference"]), name="exportedpair_channel_known"),
        ]
        indexes = [
            models.Index(fields=["channel", "content_hash"], name="exportedpair_hash"),
            models.Index(fields=["file"], name="exportedpair_file"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} pair {self.pair_id} in {self.file}"
