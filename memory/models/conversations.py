"""Conversations, and the tree of messages in each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models, router, transaction
from django.db.models import Q
from django.utils import timezone

from memory.bulk import key_list
from memory.models.querysets import ConversationQuerySet


class Conversation(models.Model):
    """One conversation of one source system."""

    source_system = models.CharField(max_length=32, help_text="The system that exported it, such as chatgpt.")
    external_id = models.CharField(max_length=255, help_text="Its id in that system.")
    title = models.CharField(max_length=255, blank=True)
    participant = models.CharField(
        max_length=255, blank=True, db_index=True, help_text="Label of the person who talked."
    )
    training_allowed = models.BooleanField(
        default=True,
        help_text="Consent: without it the conversation gives no pair, and pairs it gave before are not trained.",
    )
    started_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True, db_index=True)
    metadata = models.JSONField(default=dict, blank=True)
    import_batch = models.ForeignKey(
        "memory.ImportBatch", models.SET_NULL, null=True, blank=True, related_name="stored_conversations"
    )
    extracted_as = models.CharField(
        max_length=64,
        default="",
        db_default="",
        editable=False,
        help_text="How all that it holds was extracted; empty where something of it changed since.",
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["source_system", "external_id"], name="conversation_source_id_unique"),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.source_system} {self.external_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, all but `extracted_as`: what the instance holds of that may be older than the last change."""
        if not self._state.adding and not kwargs.get("force_insert") and kwargs.get("update_fields") is None:
            fields = (field for field in self._meta.concrete_fields if not field.primary_key)
            kwargs["update_fields"] = [field.name for field in fields if field.name != "extracted_as"]
        super().save(*args, **kwargs)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete it as a set of one."""
        return Conversation.objects.using(using or self._state.db).filter(pk=self.pk).delete()


class MessageQuerySet(models.QuerySet["Message"]):
    """Messages. Whatever changes some lets their conversations be extracted again."""

    def update(self, **values: Any) -> int:
        """Update them."""
        with transaction.atomic(using=self.db):
            self._note_changed()
            return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete them."""
        with transaction.atomic(using=self.db):
            self._note_changed()
            return super().delete()

    def bulk_create(self, objs: Iterable[Message], *args: Any, **options: Any) -> list[Message]:
        """Store new messages."""
        messages = list(objs)
        with transaction.atomic(using=self.db):
            stored = super().bulk_create(messages, *args, **options)
            keys = key_list([each.conversation_id for each in messages], using=self.db)
            Conversation.objects.using(self.db).filter(pk__in=keys).note_changed()
            return stored

    def _note_changed(self) -> None:
        Conversation.objects.using(self.db).filter(pk__in=self.values("conversation_id")).note_changed()


class Message(models.Model):
    """One message; `parent` makes a tree, in which siblings are drafts of one another."""

    class Role(models.TextChoices):
        SYSTEM = "system"
        USER = "user"
        ASSISTANT = "assistant"
        TOOL = "tool"

    class Kind(models.TextChoices):
        DIALOGUE = "dialogue"
        INTROSPECTION = "introspection"

    class Rating(models.IntegerChoices):
        UP = 1, "thumb up"
        DOWN = -1, "thumb down"

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    external_id = models.CharField(max_length=255, help_text="Its id within the conversation.")
    branch_position = models.PositiveIntegerField(default=0, help_text="Place among its siblings, from 0.")
    is_active_branch = models.BooleanField(default=True, help_text="Whether the person went on from here.")
    role = models.CharField(max_length=9, choices=Role)
    kind = models.CharField(max_length=13, choices=Kind, default=Kind.DIALOGUE)
    internal_generated = models.BooleanField(
        default=False, help_text="For introspection: whether the assistant itself produced it."
    )
    content = models.TextField(blank=True)
    original_content = models.TextField(blank=True, help_text="The text before a person edited it.")
    created_at = models.DateTimeField(default=timezone.now)
    rating = models.SmallIntegerField(choices=Rating, null=True, blank=True)
    reward_intensity = models.FloatField(
        default=0.5,
        help_text="0 to 1: a logged value, else 1 for a thumb up, 0 for a thumb down, 0.5 for neither. "
        "A pair at 0 never enters the memory channel.",
    )
    reward_observed = models.BooleanField(
        default=False, help_text="Whether the reward was logged or rated, rather than assumed."
    )
    loss = models.FloatField(null=True, blank=True, help_text="Training loss in nats per token, where logged.")
    model_name = models.CharField(max_length=255, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["conversation_id", "id"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "external_id"], name="message_external_id_unique"),
            models.CheckConstraint(
                condition=Q(reward_intensity__gte=0, reward_intensity__lte=1), name="message_reward_in_unit_interval"
            ),
            models.CheckConstraint(condition=Q(loss__isnull=True) | Q(loss__gte=0), name="message_loss_not_negative"),
            models.CheckConstraint(
                condition=Q(rating__isnull=True) | Q(rating__in=[1, -1]), name="message_rating_up_or_down"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["system", "user", "assistant", "tool"]), name="message_role_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=["dialogue", "introspection"]), name="message_kind_known"),
        ]
        indexes = [
            # All that the list filters by: what few messages pass is read from here, not from rows full of texts.
            models.Index(
                fields=["id", "role", "kind", "rating", "is_active_branch", "internal_generated", "created_at"],
                name="message_list",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, and let its conversation be extracted again."""
        using = kwargs.get("using") or router.db_for_write(Message, instance=self)
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)
            Conversation.objects.using(using).filter(pk=self.conversation_id).note_changed()

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete it as a set of one."""
        return Message.objects.using(using or self._state.db).filter(pk=self.pk).delete()
