"""Training pairs of both channels, with their review and their use."""

from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThanOrEqual
from django.utils import timezone
from simple_history.models import HistoricalRecords

from memory import rules
from memory.models.querysets import PreferencePairQuerySet, SftPairQuerySet
from memory.text import content_hash, preference_hash, trimmed

LISTED_FIELDS = [
    *("id", "review_status", "source", "is_used", "archived_at", "merged_into", "created_at", "confidence"),
    "reward_intensity",
]


class ReviewStatus(models.TextChoices):
    """What a person decided about a pair."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class TrainingPair(models.Model):
    """What the pairs of both channels share: where from, how good, reviewed how, used when."""

    conversation = models.ForeignKey(
        "memory.Conversation", models.SET_NULL, null=True, blank=True, related_name="%(class)ss"
    )
    confidence = models.FloatField(default=1.0, help_text="0 to 1: how sure it is that this pair is right.")
    sampling_weight = models.FloatField(
        default=1.0, help_text="0 to 1: factor on how often the pair is drawn; 0 keeps it out of training."
    )
    review_status = models.CharField(
        max_length=8,
        choices=ReviewStatus,
        default=ReviewStatus.PENDING,
        help_text="A rejected pair is never trained.",
    )
    merged_into = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="merged_pairs",
        help_text="The pair that stands for this one, which is then never trained.",
    )
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was retired; an archived pair is never trained."
    )
    created_at = models.DateTimeField(default=timezone.now, help_text="When it was said; recency counts from here.")
    content_hash = models.CharField(max_length=64, editable=False)
    metadata = models.JSONField(default=dict, blank=True)
    is_used = models.BooleanField(default=False, help_text="Whether training consumed it.")
    used_timestamp = models.DateTimeField(null=True, blank=True)
    training_epoch = models.PositiveIntegerField(null=True, blank=True, help_text="Epoch of its last use, from 0.")

    merged_into_id: int | None
    history: HistoricalRecords

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(confidence__gte=0, confidence__lte=1), name="%(class)s_confidence_in_unit_interval"
            ),
            models.CheckConstraint(
                condition=Q(sampling_weight__gte=0, sampling_weight__lte=1),
                name="%(class)s_sampling_weight_in_unit_interval",
            ),
            models.CheckConstraint(
                condition=Q(review_status__in=["pending", "approved", "rejected"]), name="%(class)s_review_status_known"
            ),
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True) | ~Q(merged_into=F("id")), name="%(class)s_not_merged_into_itself"
            ),
            models.CheckConstraint(
                condition=Q(is_used=False) | Q(used_timestamp__isnull=False, training_epoch__isnull=False),
                name="%(class)s_use_has_time_and_epoch",
            ),
        ]

    def problems(self) -> list[str]:
        """Return each rule that this pair breaks, as one line naming field, value and allowed range."""
        found = [
            rules.unit_interval_problem("confidence", self.confidence),
            rules.unit_interval_problem("sampling_weight", self.sampling_weight),
            rules.choice_problem("review_status", self.review_status, allowed=ReviewStatus.values),
        ]
        if self.is_used and (self.used_timestamp is None or self.training_epoch is None):
            found.append("is_used: got True, allowed only together with used_timestamp and training_epoch")
        if self.pk is not None and self.merged_into_id == self.pk:
            found.append("merged_into: got the pair itself, allowed another pair")
        return [problem for problem in found if problem is not None]

    def clean(self) -> None:
        """Trim the texts, renew the hash, refuse what breaks a rule."""
        self.prepare()
        if found := self.problems():
            raise ValidationError(found)

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Leave the constraints to the database: `clean` tells of the same rules, with value and allowed range."""

    def prepare(self) -> None:
        """Bring the texts and their hash into stored form."""
        raise NotImplementedError


class SftPair(TrainingPair):
    """Memory channel: an assistant's turn with the most recent user message before it."""

    class Source(models.TextChoices):
        CONVERSATION = "conversation"
        INTROSPECTION = "introspection"
        IMPORT = "import", "imported pair"
        MANUAL = "manual", "written by a person"

    instruction = models.TextField()
    response = models.TextField()
    context = models.JSONField(
        default=list, blank=True, help_text="Messages before the instruction: a list of role and content."
    )
    source = models.CharField(max_length=13, choices=Source, default=Source.CONVERSATION)
    category = models.CharField(max_length=64, blank=True, db_index=True)
    reward_intensity = models.FloatField(
        default=rules.DEFAULT_REWARD_INTENSITY, help_text="0 to 1; at 0 the pair is never drawn."
    )
    loss = models.FloatField(null=True, blank=True, help_text="Training loss in nats per token, where known.")
    user_message = models.ForeignKey(
        "memory.Message", models.SET_NULL, null=True, blank=True, related_name="instructed_pairs"
    )
    assistant_message = models.OneToOneField(
        "memory.Message", models.SET_NULL, null=True, blank=True, related_name="sft_pair"
    )

    objects = SftPairQuerySet.as_manager()
    history = HistoricalRecords()

    class Meta:
        verbose_name = "memory pair"
        ordering = ["-id"]
        constraints = [
            *TrainingPair.Meta.constraints,
            models.CheckConstraint(
                condition=GreaterThanOrEqual(Length("instruction"), rules.MIN_INSTRUCTION_LENGTH),
                name="sftpair_instruction_long_enough",
            ),
            models.CheckConstraint(
                condition=GreaterThanOrEqual(Length("response"), rules.MIN_RESPONSE_LENGTH),
                name="sftpair_response_long_enough",
            ),
            models.CheckConstraint(
                condition=Q(source__in=["conversation", "introspection", "import", "manual"]),
                name="sftpair_source_known",
            ),
            models.CheckConstraint(
                condition=Q(reward_intensity__gte=0, reward_intensity__lte=1), name="sftpair_reward_in_unit_interval"
            ),
            models.CheckConstraint(condition=Q(loss__isnull=True) | Q(loss__gte=0), name="sftpair_loss_not_negative"),
        ]
        indexes = [
            models.Index(fields=["is_used", "created_at"], name="sftpair_used_created"),
            models.Index(fields=["review_status", "-id"], name="sftpair_review"),
            models.Index(fields=["source", "-id"], name="sftpair_source"),
            models.Index(fields=["archived_at"], name="sftpair_archive", condition=Q(archived_at__isnull=False)),
            models.Index(fields=["content_hash"], name="sftpair_hash"),
            models.Index(fields=["reward_intensity", "id"], name="sftpair_reward"),
            models.Index(fields=["confidence", "id"], name="sftpair_confidence"),
            models.Index(fields=["created_at", "id"], name="sftpair_said"),
            # All that a list filters by: a filter that few pairs pass is read from here, not from rows full of texts.
            models.Index(fields=LISTED_FIELDS, name="sftpair_list"),
            models.Index(
                fields=["review_status", "-reward_intensity", "-id"],
                name="sftpair_queue",
                condition=Q(merged_into__isnull=True, archived_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.instruction[:80]

    @property
    def prompt(self) -> list[dict[str, str]]:
        """The messages that the response answers, as TRL has them."""
        return [*self.context, {"role": "user", "content": self.instruction}]

    def prepare(self) -> None:
        """Trim instruction and response, renew the hash over both."""
        self.instruction = trimmed(self.instruction)
        self.response = trimmed(self.response)
        self.content_hash = content_hash(self.instruction, self.response)

    def problems(self) -> list[str]:
        """Return each rule that this pair breaks, as one line naming field, value and allowed range."""
        found = [
            rules.length_problem("instruction", self.instruction, minimum=rules.MIN_INSTRUCTION_LENGTH),
            rules.length_problem("response", self.response, minimum=rules.MIN_RESPONSE_LENGTH),
            rules.choice_problem("source", self.source, allowed=self.Source.values),
            rules.unit_interval_problem("reward_intensity", self.reward_intensity),
            rules.not_negative_problem("loss", self.loss),
            rules.messages_problem("context", self.context, minimum=0),
        ]
        return [problem for problem in found if problem is not None] + super().problems()


class PreferencePair(TrainingPair):
    """Reward channel: two answers to one prompt, of which one is preferred."""

    class Source(models.TextChoices):
        RATING = "rating", "one draft rated above another"
        REGENERATION = "regeneration", "the draft that was kept"
        EDIT = "edit", "an answer edited by a person"
        REPLAY = "replay", "two entries of the replay buffer"
        IMPORT = "import", "imported pair"

    prompt = models.JSONField(help_text="A list of messages of role and content, the last one the user's.")
    chosen = models.TextField()
    rejected = models.TextField()
    source = models.CharField(max_length=12, choices=Source)
    margin = models.FloatField(default=0.0, help_text="0 to 1: by how much the chosen answer's reward is higher.")
    chosen_message = models.ForeignKey(
        "memory.Message", models.SET_NULL, null=True, blank=True, related_name="chosen_in"
    )
    rejected_message = models.ForeignKey(
        "memory.Message", models.SET_NULL, null=True, blank=True, related_name="rejected_in"
    )

    objects = PreferencePairQuerySet.as_manager()
    history = HistoricalRecords()

    class Meta:
        ordering = ["-id"]
        constraints = [
            *TrainingPair.Meta.constraints,
            models.UniqueConstraint(fields=["content_hash"], name="preferencepair_content_unique"),
            models.CheckConstraint(
                condition=GreaterThanOrEqual(Length("chosen"), rules.MIN_RESPONSE_LENGTH),
                name="preferencepair_chosen_long_enough",
            ),
            models.CheckConstraint(
                condition=GreaterThanOrEqual(Length("rejected"), rules.MIN_RESPONSE_LENGTH),
                name="preferencepair_rejected_long_enough",
            ),
            models.CheckConstraint(condition=~Q(chosen=F("rejected")), name="preferencepair_answers_differ"),
            models.CheckConstraint(
                condition=Q(source__in=["rating", "regeneration", "edit", "replay", "import"]),
                name="preferencepair_source_known",
            ),
            models.CheckConstraint(
                condition=Q(margin__gte=0, margin__lte=1), name="preferencepair_margin_in_unit_interval"
            ),
        ]
        indexes = [
            models.Index(fields=["is_used", "created_at"], name="preferencepair_used_created"),
            models.Index(fields=["review_status", "-id"], name="preferencepair_review"),
            models.Index(fields=["source", "-id"], name="preferencepair_source"),
            models.Index(fields=["archived_at"], name="preferencepair_archive", condition=Q(archived_at__isnull=False)),
            models.Index(fields=["margin", "id"], name="preferencepair_margin"),
            models.Index(fields=["confidence", "id"], name="preferencepair_confidence"),
            models.Index(fields=["created_at", "id"], name="preferencepair_said"),
            models.Index(fields=[*LISTED_FIELDS[:-1], "margin"], name="preferencepair_list"),
            models.Index(
                fields=["review_status", "-margin", "-id"],
                name="preferencepair_queue",
                condition=Q(merged_into__isnull=True, archived_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.chosen[:80]

    def clean(self) -> None:
        """Trim the texts, renew the hash, refuse what breaks a rule or is stored already."""
        super().clean()
        twin = PreferencePair.objects.filter(content_hash=self.content_hash).exclude(pk=self.pk).first()
        if twin is not None:
            raise ValidationError(
                f"content: got the prompt and answers of preference pair {twin.pk}, allowed only new content"
            )

    def prepare(self) -> None:
        """Trim both answers, renew the hash over prompt and answers; a broken prompt has none."""
        self.chosen = trimmed(self.chosen)
        self.rejected = trimmed(self.rejected)
        if rules.messages_problem("prompt", self.prompt, minimum=1) is None:
            self.content_hash = preference_hash(self.prompt, self.chosen, self.rejected)

    def problems(self) -> list[str]:
        """Return each rule that this pair breaks, as one line naming field, value and allowed range."""
        found = [
            rules.messages_problem("prompt", self.prompt, minimum=1),
            rules.length_problem("chosen", self.chosen, minimum=rules.MIN_RESPONSE_LENGTH),
            rules.length_problem("rejected", self.rejected, minimum=rules.MIN_RESPONSE_LENGTH),
            rules.choice_problem("source", self.source, allowed=self.Source.values),
            rules.unit_interval_problem("margin", self.margin),
        ]
        if self.chosen == self.rejected:
            found.append("rejected: got the same text as chosen, allowed only another one")
        return [problem for problem in found if problem is not None] + super().problems()
