"""Sentence embeddings of pairs, in a table of their own so that no list page loads them."""

from django.db import models
from django.db.models import Q


class PairEmbedding(models.Model):
    """The vector of one pair under one version of an embedder."""

    sft_pair = models.OneToOneField("memory.SftPair", models.CASCADE, null=True, blank=True, related_name="embedding")
    preference_pair = models.OneToOneField(
        "memory.PreferencePair", models.CASCADE, null=True, blank=True, related_name="embedding"
    )
    embedder = models.CharField(
        max_length=128, db_index=True, help_text="Name, length and text template; vectors of two never mix."
    )
    dimension = models.PositiveSmallIntegerField()
    vector = models.BinaryField(help_text="Unit vector as little-endian float16.")
    cluster = models.PositiveIntegerField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(sft_pair__isnull=False, preference_pair__isnull=True)
                | Q(sft_pair__isnull=True, preference_pair__isnull=False),
                name="embedding_of_exactly_one_pair",
            ),
            models.CheckConstraint(condition=Q(dimension__gt=0), name="embedding_dimension_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.embedder} of {self.sft_pair_id or self.preference_pair_id}"
