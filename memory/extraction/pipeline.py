"""The extraction: the one place that turns stored conversations into stored pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Model, QuerySet
from django.db.models.expressions import RawSQL

from memory.bulk import insert_rows, key_list, text_list
from memory.embeddings import Embedder, load_embedder
from memory.extraction.batch import COLLAPSED, Batch, read_batch
from memory.extraction.journal import ExtractionJournal, insert_journaled, update_journaled
from memory.extraction.plan import BatchPlan, BatchPlanner
from memory.extraction.refresh import refresh
from memory.extraction.replay_pairs import pair_replays
from memory.extraction.report import ExtractionReport
from memory.extraction.request import ExtractionOptions, Selection
from memory.extraction.rows import REPLAY_COLUMNS, SftRow, preference_pair, replay_rows, sft_rows
from memory.extraction.thoughts import StoredThoughts
from memory.extraction.turns import TurnMessage
from memory.extraction.vectors import VectorCache, VectorsMissingError
from memory.models import Conversation, PreferencePair, ReplayEntry, SftPair
from memory.switches import is_on

# To be raised with every change of the rules, so that the next night applies them to all conversations.
RULES = 1


def extract(
    selection: Selection,
    options: ExtractionOptions | None = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    load: Callable[[], Embedder] = load_embedder,
    on_batch: Callable[[int], None] | None = None,
    journal: ExtractionJournal | None = None,
) -> ExtractionReport:
    """Extract pairs, preferences and replay entries from the conversations of `selection`; return the counts.

    A batch of conversations is one transaction, which locks them. Killed at any point and run again, it ends with the
    same rows; of two runs at once each row is stored by one. A conversation without consent gives nothing. That it was
    extracted is noted in the same transaction, unless only a part of its turns was asked for.

    A stored pair stands: it is never deleted, doubled or exchanged, whatever drafts or ratings come later (see
    `BatchPlanner`). Without `options.skip_existing` its texts and scores follow its message, its usage and review
    never do.

    Args:
        selection: which conversations.
        options: how; by default everything new, without introspection unless it is switched on.
        using: the database.
        load: returns the embedder; called only if texts have to be compared.
        on_batch: called with the number of conversations after each batch.
        journal: who writes down which rows were made or changed; by default nobody.

    Raises:
        ImproperlyConfigured: if texts have to be compared and there is no embedder; earlier batches stay stored.

    """
    run = _Run(selection, options or ExtractionOptions(), using=using, load=load, journal=journal)
    # Batches see what earlier ones stored, so a dry run stores too, and takes all of it back at the end.
    with transaction.atomic(using=using) if run.options.dry_run else nullcontext():
        report = run.go(on_batch)
        if run.options.dry_run:
            transaction.set_rollback(True, using=using)
    return report


def count_conversations(
    selection: Selection, options: ExtractionOptions | None = None, *, using: str = DEFAULT_DB_ALIAS
) -> int:
    """Return how many conversations `extract` would read."""
    run = _Run(selection, options or ExtractionOptions(), using=using, load=load_embedder, journal=None)
    return run.conversations().count()


class _Run:
    """One run over one selection."""

    def __init__(
        self,
        selection: Selection,
        options: ExtractionOptions,
        *,
        using: str,
        load: Callable[[], Embedder],
        journal: ExtractionJournal | None,
    ) -> None:
        self.selection = selection
        self.options = options
        self.using = using
        self.journal = journal
        self.introspection = options.include_introspection or is_on("INTROSPECTION_IN_SFT", using=using)
        self.prefer_kept_branch = is_on("PREFER_KEPT_BRANCH", using=using)
        self.vectors = VectorCache(load)
        self.thoughts = StoredThoughts(VectorCache(load), using=using)

    @property
    def how(self) -> str:
        """All that decides, besides a conversation itself, what comes of it."""
        choices = {
            "context": self.options.include_context,
            "introspection": self.introspection,
            "kept_branch": self.prefer_kept_branch,
        }
        return " ".join([f"rules {RULES}", *(name for name, is_chosen in choices.items() if is_chosen)])

    def conversations(self) -> QuerySet[Conversation]:
        found = self.selection.conversations(using=self.using)
        return found.to_extract(self.how) if self.options.only_changed else found

    def go(self, on_batch: Callable[[int], None] | None) -> ExtractionReport:
        report = ExtractionReport()
        last: int | None = 0
        while last is not None:
            try:
                with transaction.atomic(using=self.using):
                    last, found = self._store_batch(after=last)
            except VectorsMissingError as missing:
                missing.make()
                continue
            self.vectors.forget()
            report.add(found)
            if on_batch is not None and found.conversations:
                on_batch(found.conversations)
        report.add(pair_replays(self.selection, vectors=self.vectors, using=self.using, journal=self.journal))
        return report

    def _store_batch(self, *, after: int) -> tuple[int | None, ExtractionReport]:
        batch = read_batch(self.conversations(), after=after, messages=self.options.batch_messages, using=self.using)
        if batch is None:
            return None, ExtractionReport()
        plan = self._planner(batch).plan()
        self._store(plan)
        self._note_collapsed(plan)
        if not self.options.skip_existing:
            plan.report.refreshed = refresh(plan, include_context=self.options.include_context, using=self.using)
        if self.selection.since is None:
            read = Conversation.objects.using(self.using).filter(pk__in=key_list(batch.keys, using=self.using))
            read.note_extracted(self.how)
        return batch.keys[-1], plan.report

    def _planner(self, batch: Batch) -> BatchPlanner:
        return BatchPlanner(
            batch,
            since=self.selection.since,
            prefer_kept_branch=self.prefer_kept_branch,
            introspection=self.introspection,
            vectors=self.vectors,
            thoughts=self.thoughts,
        )

    def _store(self, plan: BatchPlan) -> None:
        context = self.options.include_context
        preferences = [preference_pair(*found, include_context=context) for found in plan.preferences]
        report = plan.report
        report.created = self._insert(
            lambda: insert_rows(
                SftPair,
                SftRow._fields,
                sft_rows(plan, include_context=context),
                using=self.using,
                ignore_conflicts=True,
            ),
            SftPair,
            lambda: {"assistant_message__in": self._keys(message for _, message in plan.pairs)},
        )
        report.preference_pairs_created = self._insert(
            lambda: PreferencePair.objects.using(self.using).insert(preferences, skip_existing=True),
            PreferencePair,
            lambda: {"content_hash__in": text_list([pair.content_hash for pair in preferences], using=self.using)},
        )
        report.replay_entries_created = self._insert(
            lambda: insert_rows(
                ReplayEntry, REPLAY_COLUMNS, replay_rows(plan.replays), using=self.using, ignore_conflicts=True
            ),
            ReplayEntry,
            lambda: {"message__in": self._keys(message for _, message, _ in plan.replays)},
        )

    def _insert(self, insert: Callable[[], int], model: type[Model], made_of: Callable[[], Mapping[str, Any]]) -> int:
        return insert_journaled(insert, model, made_of, journal=self.journal, using=self.using)

    def _keys(self, messages: Iterable[TurnMessage]) -> RawSQL:
        return key_list([message.id for message in messages], using=self.using)

    def _note_collapsed(self, plan: BatchPlan) -> None:
        """Write onto stored pairs which new drafts they stand for; new pairs were stored with theirs."""
        new = {message.id for _, message in plan.pairs}
        entries = {message: found for message, found in plan.collapsed.items() if message not in new}
        if not entries:
            return
        # A thought may be stood for by a pair of another batch.
        pairs = SftPair.objects.using(self.using).filter(
            assistant_message__in=key_list(list(entries), using=self.using)
        )
        rows = []
        for pk, message, metadata in pairs.values_list("pk", "assistant_message_id", "metadata"):
            known = metadata.get(COLLAPSED, [])
            # Of two runs at once, the other one may have written it down since this one read the pair.
            written = {entry["message"] for entry in known}
            new_entries = [entry for entry in entries[message] if entry["message"] not in written]
            rows.append((pk, {**metadata, COLLAPSED: [*known, *new_entries]}))
        update_journaled(SftPair, ["metadata"], rows, journal=self.journal, using=self.using)
