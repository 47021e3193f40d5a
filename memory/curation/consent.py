"""What came of conversations without consent, before they are deleted and nothing says any more that it lacked."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from memory.bulk import key_list
from memory.curation.decisions import change
from memory.models import Conversation, PreferencePair, ReplayEntry, ReviewStatus, SftPair

# The reason in the history of pairs that were rejected for it.
WITHHELD = "conversation without consent deleted"


def withhold(conversations: QuerySet[Conversation]) -> None:
    """Reject the pairs of those `conversations` that have no consent, and delete their replay entries.

    To be called in the transaction that deletes them: until its end nobody gives or withdraws consent.
    """
    using = conversations.db
    with transaction.atomic(using=using):
        locked = conversations.order_by("pk").select_for_update().values_list("pk", "training_allowed")
        without = key_list([key for key, is_allowed in locked if not is_allowed], using=using)
        for model in (SftPair, PreferencePair):
            pairs = model._default_manager.using(using).filter(conversation__in=without)
            rejected = {"review_status": ReviewStatus.REJECTED}
            change(pairs.exclude(**rejected), rejected, user=None, reason=WITHHELD)
        # Nights mark entries as evicted, and let them return; without their messages extraction makes them no more.
        ReplayEntry.objects.using(using).filter(message__conversation__in=without).delete()
