"""The conversations that rows were extracted from."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from memory.bulk import key_list
from memory.extraction.batch import COLLAPSED
from memory.models import Conversation, Message, PreferencePair, ReplayEntry, SftPair


def extract_sources_again(model: type[models.Model], keys: Sequence[int], *, using: str) -> None:
    """Let the conversations be extracted again from which these rows of `model` came, before somebody removes them.

    Those of drafts and thoughts, too, that a memory pair stands for: without it they are open once more.
    """
    rows = model._default_manager.using(using).filter(pk__in=key_list(keys, using=using))
    messages: set[int | None] = set()
    if model is SftPair:
        for message, metadata in rows.values_list("assistant_message_id", "metadata"):
            messages |= {message, *(entry["message"] for entry in metadata.get(COLLAPSED, ()))}
    elif model is PreferencePair:
        messages.update(rows.values_list("chosen_message_id", flat=True))
    elif model is ReplayEntry:
        messages.update(rows.values_list("message_id", flat=True))
    found = key_list([key for key in messages if key is not None], using=using)
    sources = Message.objects.using(using).filter(pk__in=found).values("conversation_id")
    Conversation.objects.using(using).filter(pk__in=sources).note_changed()
