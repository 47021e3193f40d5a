"""The replay buffer."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from memory import rules
from memory.models.querysets import ReplayEntryQuerySet


class ReplayEntry(models.Model):
    """Something the assistant said, with what it earned; introspection is kept here whatever the switch says."""

    class Kind(models.TextChoices):
        EXPERIENCE = "experience"
        INTROSPECTION = "introspection"

    message = models.OneToOneField(
        "memory.Message", models.SET_NULL, null=True, blank=True, related_name="replay_entry"
    )
    kind = models.CharField(max_length=13, choices=Kind)
    internal_generated = models.BooleanField(
        default=False, help_text="Introspection that is not is skipped by the safety filter."
    )
    prompt = models.TextField(blank=True)
    prompt_hash = models.CharField(max_length=64, editable=False)
    response = models.TextField()
    reward_intensity = models.FloatField(default=0.5, help_text="0 to 1.")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    safety_flags = models.JSONField(default=list, blank=True, help_text="Why an entry needs care, as short words.")
    evicted_at = models.DateTimeField(
        null=True, blank=True, help_text="When it had to make room; it is no longer in the buffer, but kept."
    )

    objects = ReplayEntryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "replay entries"
        constraints = [
            models.CheckConstraint(
                condition=Q(reward_intensity__gte=0, reward_intensity__lte=1), name="replay_reward_in_unit_interval"
            ),
            models.CheckConstraint(condition=Q(kind__in=["experience", "introspection"]), name="replay_kind_known"),
            models.CheckConstraint(
                condition=~Q(kind="introspection") | Q(internal_generated=True),
                name="replay_introspection_is_internal",
            ),
        ]
        indexes = [
            models.Index(fields=["prompt_hash"], name="replay_buffer", condition=Q(evicted_at__isnull=True)),
            models.Index(fields=["message"], name="replay_flagged", condition=~Q(safety_flags=[])),
            # As for messages: all that the list filters by.
            models.Index(
                fields=["id", "kind", "internal_generated", "reward_intensity", "created_at", "evicted_at"],
                name="replay_list",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.response[:60]}"

    def clean(self) -> None:
        """Refuse flags that are no short words."""
        if problem := rules.flags_problem("safety_flags", self.safety_flags):
            raise ValidationError([problem])
