"""Filters of a list that a person keeps under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, When
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class SavedFilterQuerySet(models.QuerySet["SavedFilter"]):
    """Vocabulary for saved filters."""

    def offered_to(self, user: User, *, model: str) -> models.QuerySet[SavedFilter]:
        """Return the filters of one list that `user` made, then those that others share, each by name."""
        own = Q(owner=user)
        return self.filter(own | Q(is_shared=True), model=model).order_by(
            Case(When(own, then=0), default=1), "name", "pk"
        )

    def deletable_by(self, user: User, *, model: str) -> models.QuerySet[SavedFilter]:
        """Return the filters of one list that `user` made, and those that others share if the permission is there."""
        others = Q(is_shared=True) if user.has_perm("memory.delete_savedfilter") else Q()
        return self.filter(Q(owner=user) | others, model=model)


class SavedFilter(models.Model):
    """The query string of a list, under a name."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="saved_filters")
    model = models.CharField(max_length=64, help_text="The list: app and model, such as memory.sftpair.")
    name = models.CharField(max_length=64)
    query = models.CharField(max_length=2000, help_text="Filters, search and order as in the address.")
    is_shared = models.BooleanField(default=False, help_text="Whether everybody who sees the list is offered it.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = SavedFilterQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "model", "name"], name="savedfilter_name_once"),
        ]
        indexes = [models.Index(fields=["model", "name"], name="savedfilter_list")]

    def __str__(self) -> str:
        return self.name
