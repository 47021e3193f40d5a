"""Sets of training pairs and replay entries that the rest of the house asks for by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Length
from django.utils import timezone

from memory.bulk import insert_rows, key_list
from memory.models.exports import ExportedPair

if TYPE_CHECKING:
    from memory.models.conversations import Conversation  # noqa: F401 - named as a string below
    from memory.models.pairs import PreferencePair, SftPair, TrainingPair  # noqa: F401 - named as strings below
    from memory.models.replay import ReplayEntry  # noqa: F401 - named as a string below

    _Pair = TypeVar("_Pair", bound=TrainingPair)
else:
    _Pair = TypeVar("_Pair")

# How a conversation without consent is extracted, whatever else holds.
WITHOUT_CONSENT = "without consent"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations."""

    def to_extract(self, how: str) -> Self:
        """Return those that were not extracted since they last changed, or not the way that `how` names.

        Consent that was given or withdrawn since needs nobody to note it.
        """
        return self.exclude(training_allowed=True, extracted_as=how).exclude(
            training_allowed=False, extracted_as=WITHOUT_CONSENT
        )

    def note_extracted(self, how: str) -> None:
        """Note that they were extracted; to be called in the transaction that locked them before it read them."""
        as_allowed = Case(When(training_allowed=True, then=Value(how)), default=Value(WITHOUT_CONSENT))
        self.to_extract(how).update(extracted_as=as_allowed)

    def note_changed(self) -> None:
        """Let them be extracted again; to be called in the transaction that changes what is extracted from them."""
        # Those, too, that are noted as such already: an extraction may be reading them, whose note waits to be seen.
        # All in one order, so that no two wait for each other.
        keys = list(self.order_by("pk").select_for_update().values_list("pk", flat=True))
        self.model._default_manager.using(self.db).filter(pk__in=key_list(keys, using=self.db)).update(extracted_as="")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete them with their messages; pairs stay, those of conversations without consent as rejected ones."""
        # Decisions are built on the models.
        from memory.curation.consent import withhold

        with transaction.atomic(using=self.db):
            withhold(self)
            return super().delete()


class TrainingPairQuerySet(models.QuerySet[_Pair]):
    """Vocabulary for pairs of either channel."""

    def trainable(self) -> Self:
        """Return pairs that may be trained: neither rejected, merged away, archived nor weighted to nothing.

        Consent that was withdrawn after the pair was made counts too.
        """
        return self.worth_training().filter(merged_into__isnull=True)

    def worth_training(self) -> Self:
        """Return pairs that may be trained, or could be if no other pair stood for them."""
        return self.filter(
            Q(conversation__isnull=True) | Q(conversation__training_allowed=True),
            archived_at__isnull=True,
            sampling_weight__gt=0,
        ).exclude(review_status="rejected")

    def approved(self) -> Self:
        """Return pairs that a person approved."""
        return self.filter(review_status="approved")

    def unused(self) -> Self:
        """Return pairs that no training run consumed yet."""
        return self.filter(is_used=False)

    def used(self) -> Self:
        """Return pairs that a training run consumed."""
        return self.filter(is_used=True)

    def since(self, moment: datetime) -> Self:
        """Return pairs said at or after `moment`."""
        return self.filter(created_at__gte=moment)

    def insert(self, pairs: Iterable[_Pair], *, skip_existing: bool = False) -> int:
        """Store new pairs in one query, whatever the count; return how many were stored.

        Texts are trimmed and hashed first. With `skip_existing`, a pair whose message or content is stored
        already is passed over.

        Raises:
            ValidationError: if any pair breaks a rule; then none is stored. Names row, field, value, range.

        """
        rows, found = [], []
        columns = [field.attname for field in self.model._meta.concrete_fields if not field.primary_key]
        for number, pair in enumerate(pairs):
            pair.prepare()
            found += [f"row {number}: {problem}" for problem in pair.problems()]
            rows.append([getattr(pair, column) for column in columns])
        if found:
            raise ValidationError(found)
        return insert_rows(self.model, columns, rows, using=self.db, ignore_conflicts=skip_existing)

    def mark_used(self, ids: Sequence[int], *, training_epoch: int, used_timestamp: datetime | None = None) -> int:
        """Mark pairs as consumed in `training_epoch` (from 0), by default now; return how many there were.

        One query, whatever the count.
        """
        return self.filter(pk__in=key_list(ids, using=self.db)).update(
            is_used=True, training_epoch=training_epoch, used_timestamp=used_timestamp or timezone.now()
        )

    def _matching(
        self,
        *,
        source: str | Sequence[str] | None,
        is_used: bool | None,
        since: datetime | None,
        min_confidence: float | None,
        review_status: Sequence[str] | None,
    ) -> Self:
        found = self
        if source is not None:
            found = found.filter(source__in=[source] if isinstance(source, str) else list(source))
        if is_used is not None:
            found = found.filter(is_used=is_used)
        if since is not None:
            found = found.since(since)
        if min_confidence is not None:
            found = found.filter(confidence__gte=min_confidence)
        if review_status is not None:
            found = found.filter(review_status__in=list(review_status))
        return found


class SftPairQuerySet(TrainingPairQuerySet["SftPair"]):
    """Memory pairs."""

    def worth_training(self) -> Self:
        """Leave out a reward of 0 as well, which means: do not learn this."""
        return super().worth_training().filter(reward_intensity__gt=0)

    def matching(
        self,
        *,
        source: str | Sequence[str] | None = None,
        is_used: bool | None = None,
        since: datetime | None = None,
        min_instruction_length: int | None = None,
        min_response_length: int | None = None,
        min_confidence: float | None = None,
        min_reward: float | None = None,
        review_status: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Self:
        """Return pairs that pass every filter given; lengths in characters; `limit` keeps the newest."""
        found = self._matching(
            source=source,
            is_used=is_used,
            since=since,
            min_confidence=min_confidence,
            review_status=review_status,
        )
        if min_reward is not None:
            found = found.filter(reward_intensity__gte=min_reward)
        if min_instruction_length is not None:
            found = found.alias(instruction_length=Length("instruction")).filter(
                instruction_length__gte=min_instruction_length
            )
        if min_response_length is not None:
            found = found.alias(response_length=Length("response")).filter(response_length__gte=min_response_length)
        return found if limit is None else found.order_by("-created_at", "-id")[:limit]


class PreferencePairQuerySet(TrainingPairQuerySet["PreferencePair"]):
    """Preference pairs."""

    def insert(self, pairs: Iterable[PreferencePair], *, skip_existing: bool = False) -> int:
        """Store new pairs; with `skip_existing`, a pair whose content lies in an archive file is passed over, too."""
        new = list(pairs)
        if skip_existing:
            for pair in new:
                pair.prepare()
            exported = ExportedPair.objects.using(self.db).away()
            known = exported.hashes(ExportedPair.Channel.PREFERENCE, [pair.content_hash for pair in new])
            new = [pair for pair in new if pair.content_hash not in known]
        return super().insert(new, skip_existing=skip_existing)

    def matching(
        self,
        *,
        source: str | Sequence[str] | None = None,
        is_used: bool | None = None,
        since: datetime | None = None,
        min_response_length: int | None = None,
        min_confidence: float | None = None,
        min_reward: float | None = None,
        review_status: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> Self:
        """Return pairs that pass every filter given; lengths in characters; `limit` keeps the newest.

        The reward of a preference pair is its margin.
        """
        found = self._matching(
            source=source,
            is_used=is_used,
            since=since,
            min_confidence=min_confidence,
            review_status=review_status,
        )
        if min_reward is not None:
            found = found.filter(margin__gte=min_reward)
        if min_response_length is not None:
            found = found.alias(chosen_length=Length("chosen"), rejected_length=Length("rejected")).filter(
                chosen_length__gte=min_response_length, rejected_length__gte=min_response_length
            )
        return found if limit is None else found.order_by("-created_at", "-id")[:limit]


class ReplayEntryQuerySet(models.QuerySet["ReplayEntry"]):
    """Replay entries."""

    def buffered(self) -> Self:
        """Return the entries that are in the buffer."""
        return self.filter(evicted_at__isnull=True)

    def evicted(self) -> Self:
        """Return the entries that had to make room for others."""
        return self.filter(evicted_at__isnull=False)
