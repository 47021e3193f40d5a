"""Thoughts in the memory channel: what is stored of them, which new ones say something new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from memory import rules
from memory.extraction.batch import COLLAPSED
from memory.extraction.drafts import DraftSelection, DroppedDraft, drop_exact_duplicates, drop_similar
from memory.extraction.turns import TurnMessage
from memory.extraction.vectors import VectorCache
from memory.models import ExportedPair, SftPair
from memory.text import content_hash

# Any number that no other lock of this project takes.
_ADVISORY_LOCK = 0x7408


class StoredThoughts:
    """The introspection pairs in the database, and their vectors, as far as they were read.

    All texts are held in memory: thoughts are compared with every stored one, in whichever conversation it was.
    """

    def __init__(self, vectors: VectorCache, *, using: str) -> None:
        self._vectors = vectors
        self._using = using
        self._last = 0
        self._stored: list[TurnMessage] = []
        self._by_hash: dict[str, TurnMessage] = {}
        self.pair_of: dict[int, tuple[int, dict[str, Any]]] = {}
        self._collapsed: dict[int, str] = {}

    def catch_up(self) -> None:
        """Read what was stored since the last call, by this run or another; nobody else stores any until it ends."""
        connection = connections[self._using]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
        if not self._last:
            # What a pair in an archive file stood for stays dropped.
            exported = ExportedPair.objects.using(self._using).away().exclude(collapsed=[])
            for entries in exported.values_list("collapsed", flat=True):
                self._collapsed.update({entry["message"]: entry["reason"] for entry in entries})
        found = SftPair.objects.using(self._using).filter(source=SftPair.Source.INTROSPECTION, pk__gt=self._last)
        rows = found.order_by("pk").values_list("pk", "assistant_message_id", "response", "created_at", "metadata")
        for pk, message_id, response, created_at, metadata in rows:
            # A pair whose message is gone still counts; its negative key cannot be that of a message.
            thought = _stored_thought(message_id or -pk, response, created_at)
            self._last = pk
            self._stored.append(thought)
            self._by_hash.setdefault(content_hash(response), thought)
            self.pair_of[thought.id] = (pk, metadata)
            self._collapsed.update({entry["message"]: entry["reason"] for entry in metadata.get(COLLAPSED, ())})

    def known_reason(self, thought: TurnMessage) -> str | None:
        """Return why `thought` was dropped in an earlier run, or None."""
        return self._collapsed.get(thought.id)

    def select(self, thoughts: Sequence[TurnMessage]) -> DraftSelection:
        """Return which of `thoughts` are like no stored one and like no better one among them.

        Raises:
            VectorsMissingError: if a vector is missing that the answer needs.

        """
        new: list[TurnMessage] = []
        dropped: list[DroppedDraft] = []
        for thought in thoughts:
            survivor = self._by_hash.get(content_hash(thought.content))
            if survivor is None:
                new.append(thought)
            else:
                dropped.append(DroppedDraft(thought, survivor, "exact_duplicate", 1.0))
        exact = drop_exact_duplicates(new)
        compared = [*self._stored, *exact.kept]
        if not exact.kept or len(compared) < 2:
            return DraftSelection(exact.kept, (*dropped, *exact.dropped), rules.DRAFT_SIMILARITY_THRESHOLD)
        texts = [thought.content for thought in compared]
        self._vectors.require(texts)
        similar = drop_similar(compared, self._vectors.rows(texts), standing=self.pair_of.keys())
        kept = tuple(thought for thought in similar.kept if thought.id not in self.pair_of)
        return DraftSelection(kept, (*dropped, *exact.dropped, *similar.dropped), similar.threshold)


def _stored_thought(key: int, response: str, created_at: Any) -> TurnMessage:
    return TurnMessage(
        id=key,
        parent_id=None,
        role="assistant",
        kind="introspection",
        internal_generated=True,
        content=response,
        original_content="",
        created_at=created_at,
        reward_intensity=rules.DEFAULT_REWARD_INTENSITY,
        reward_observed=False,
        rating=None,
        loss=None,
        is_active_branch=True,
        branch_position=0,
    )
