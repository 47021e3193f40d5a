"""What was said since the last night becomes pairs and replay entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from maintenance.journal import change_rows, note_created
from maintenance.night import Night, StepOutcome
from memory.extraction import pipeline
from memory.extraction.request import ExtractionOptions, Selection

# Messages a transaction; see `memory.extraction.request.BATCH_MESSAGES`. With the journal each takes longer to store.
_BATCH_MESSAGES = 1_000


@dataclass(frozen=True, slots=True)
class _NightJournal:
    """Writes what the extraction does into the journal of the night."""

    night: Night

    def created(self, model: type[models.Model], keys: Sequence[int]) -> None:
        note_created(self.night, model, keys)

    def update(self, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        change_rows(self.night, columns, rows, among=model._default_manager.all())


def extract(night: Night) -> StepOutcome:
    """Extract from the conversations that changed since they were last extracted; what is stored stays as it is.

    After a change of the rules, the config or the switches all of them are read once.

    A batch of conversations is one transaction together with its journal, so that a night that is killed loses one
    batch at most, and nothing is stored that could not be undone.

    Raises:
        ImproperlyConfigured: drafts have to be compared and there is no embedder; earlier batches stay stored.

    """
    options = ExtractionOptions(
        include_context=night.config.extract.include_context, only_changed=True, batch_messages=_BATCH_MESSAGES
    )
    total = pipeline.count_conversations(Selection(), options, using=night.using)
    unchanged = Selection().count(using=night.using) - total
    done = 0

    def advance(conversations: int) -> None:
        nonlocal done
        done += conversations
        night.progress(f"{done:,} of {total:,} conversations extracted", min(done / max(total, 1), 1.0))

    report = pipeline.extract(
        Selection(),
        options,
        using=night.using,
        load=night.load,
        on_batch=advance,
        journal=_NightJournal(night),
    )
    return StepOutcome(
        counts={
            "conversations": report.conversations,
            "unchanged": unchanged,
            "sft_created": report.created,
            "preference_created": report.preference_pairs_created,
            "replay_created": report.replay_entries_created,
            "dropped": report.dropped.total(),
        },
        details={"dropped": dict(sorted(report.dropped.items()))},
    )
