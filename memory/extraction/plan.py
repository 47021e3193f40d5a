"""The plan of a batch: which pairs, preferences and replay entries its conversations give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from memory import rules
from memory.extraction.batch import Batch
from memory.extraction.drafts import DraftSelection, DroppedDraft, drop_exact_duplicates, drop_similar
from memory.extraction.introspection import ReplayKind, refusal, replay_kind
from memory.extraction.preferences import Preference, near_identical, needs_similarity, turn_preferences
from memory.extraction.report import ExtractionReport
from memory.extraction.thoughts import StoredThoughts
from memory.extraction.turns import MessageTree, Turn, TurnMessage
from memory.extraction.vectors import VectorCache
from memory.text import trimmed


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands: its conversation, and the user message that it answers, if there is one."""

    conversation_id: int
    tree: MessageTree
    user: TurnMessage | None


@dataclass(slots=True)
class BatchPlan:
    """What is to be stored of a batch.

    `pairs` and `preferences` are new, `stored` have a pair already, `stored_preferences` come with its primary key.
    `collapsed` is, by message, what its pair stands for: entries for the pair's metadata.
    """

    pairs: list[tuple[Place, TurnMessage]] = field(default_factory=list)
    stored: list[tuple[Place, TurnMessage]] = field(default_factory=list)
    collapsed: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    preferences: list[tuple[Place, Preference]] = field(default_factory=list)
    stored_preferences: list[tuple[int, Place, Preference]] = field(default_factory=list)
    replays: list[tuple[Place, TurnMessage, ReplayKind]] = field(default_factory=list)
    report: ExtractionReport = field(default_factory=ExtractionReport)


class BatchPlanner:
    """Applies the rules to one batch; changes nothing in the database.

    A draft that has a pair stands, whatever comes later: a new draft that is like it is dropped, even a better rated
    one, and goes into the reward channel and the replay buffer alone. What was dropped once stays dropped, as the
    metadata of the pair that stands for it says. So no pair is ever taken back, doubled or swapped for another.
    """

    def __init__(
        self,
        batch: Batch,
        *,
        since: datetime | None,
        prefer_kept_branch: bool,
        introspection: bool,
        vectors: VectorCache,
        thoughts: StoredThoughts,
    ) -> None:
        self._batch = batch
        self._since = since
        self._prefer_kept_branch = prefer_kept_branch
        self._introspection = introspection
        self._vectors = vectors
        self._thoughts = thoughts
        self._plan = BatchPlan()
        self._dropped = self._plan.report.dropped

    def plan(self) -> BatchPlan:
        """Return the plan.

        Raises:
            VectorsMissingError: if texts have to be compared that have no vector yet.

        """
        report = self._plan.report
        report.conversations = len(self._batch.keys)
        report.assistant_turns = self._batch.refused_turns
        self._count("no_consent", self._batch.refused_turns)
        drafts: list[tuple[Place, DraftSelection]] = []
        preferences: list[tuple[Place, Preference]] = []
        thoughts: list[tuple[Place, TurnMessage]] = []
        for conversation_id, tree in self._batch.trees.items():
            for turn in filter(self._is_recent, tree.turns()):
                place = Place(conversation_id, tree, turn.user)
                answers = self._long_enough(turn)
                drafts.append((place, self._different(answers)))
                preferences += self._new_preferences(place, answers)
                thoughts += [(place, thought) for thought in turn.thoughts]
                self._keep_for_replay(place, [answer for answer in answers if answer.reward_observed])
            for message in tree.without_instruction():
                if self._since is not None and message.created_at < self._since:
                    continue
                if message.is_introspection:
                    thoughts.append((Place(conversation_id, tree, None), message))
                else:
                    report.assistant_turns += 1
                    self._count("no_instruction")
        self._require_vectors(drafts, preferences)
        self._take_drafts(drafts)
        self._take_preferences(preferences)
        self._take_thoughts(thoughts)
        return self._plan

    def _is_recent(self, turn: Turn) -> bool:
        since = self._since
        return since is None or any(message.created_at >= since for message in chain(turn.answers, turn.thoughts))

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self._dropped[reason] += number

    def _long_enough(self, turn: Turn) -> Sequence[TurnMessage]:
        self._plan.report.assistant_turns += len(turn.answers)
        if len(trimmed(turn.user.content)) < rules.MIN_INSTRUCTION_LENGTH:
            self._count("instruction_too_short", len(turn.answers))
            return ()
        answers = [answer for answer in turn.answers if len(trimmed(answer.content)) >= rules.MIN_RESPONSE_LENGTH]
        self._count("response_too_short", len(turn.answers) - len(answers))
        return answers

    def _different(self, answers: Sequence[TurnMessage]) -> DraftSelection:
        if len(answers) < 2:
            return DraftSelection(tuple(answers), (), 1.0)
        open_answers = []
        for answer in answers:
            if (reason := self._batch.collapsed.get(answer.id)) and answer.id not in self._batch.pairs:
                self._count(f"{reason}_draft")
            else:
                open_answers.append(answer)
        return drop_exact_duplicates(open_answers, standing=self._batch.pairs.keys())

    def _is_settled(self, selection: DraftSelection) -> bool:
        return len(selection.kept) < 2 or all(draft.id in self._batch.pairs for draft in selection.kept)

    def _new_preferences(self, place: Place, answers: Sequence[TurnMessage]) -> list[tuple[Place, Preference]]:
        new = []
        for preference in turn_preferences(answers, prefer_kept_branch=self._prefer_kept_branch):
            stored = self._batch.preferences.get(frozenset((preference.chosen_id, preference.rejected_id)))
            if stored is not None:
                self._plan.stored_preferences.append((stored, place, preference))
            elif len(preference.rejected) < rules.MIN_RESPONSE_LENGTH:
                self._count("preference_too_short")
            else:
                new.append((place, preference))
        return new

    def _require_vectors(
        self, drafts: Iterable[tuple[Place, DraftSelection]], preferences: Iterable[tuple[Place, Preference]]
    ) -> None:
        texts = [draft.content for _, found in drafts if not self._is_settled(found) for draft in found.kept]
        for _, preference in preferences:
            if needs_similarity(preference):
                texts += [preference.chosen, preference.rejected]
        self._vectors.require(texts)

    def _take_drafts(self, drafts: Iterable[tuple[Place, DraftSelection]]) -> None:
        for place, selection in drafts:
            kept, dropped = selection.kept, selection.dropped
            if not self._is_settled(selection):
                vectors = self._vectors.rows([draft.content for draft in kept])
                similar = drop_similar(kept, vectors, standing=self._batch.pairs.keys())
                kept, dropped = similar.kept, (*dropped, *similar.dropped)
            for draft in kept:
                self._take_pair(place, draft)
            if dropped:
                self._note(dropped)
                for drop in dropped:
                    self._count(f"{drop.reason}_draft")

    def _take_pair(self, place: Place, message: TurnMessage) -> None:
        if message.id in self._batch.pairs:
            self._plan.report.existing += 1
            self._plan.stored.append((place, message))
        else:
            self._plan.pairs.append((place, message))

    def _note(self, dropped: Iterable[DroppedDraft]) -> None:
        by_draft = {drop.draft.id: drop for drop in dropped}
        for drop in by_draft.values():
            survivor, similarity = drop.survivor, drop.similarity
            # A duplicate of a draft that was itself dropped is stood for by that one's survivor.
            while (further := by_draft.get(survivor.id)) is not None:
                survivor, similarity = further.survivor, min(similarity, further.similarity)
            entry = {"message": drop.draft.id, "reason": drop.reason, "similarity": round(similarity, 4)}
            self._plan.collapsed.setdefault(survivor.id, []).append(entry)

    def _take_preferences(self, preferences: Iterable[tuple[Place, Preference]]) -> None:
        for place, preference in preferences:
            if near_identical(preference, self._vectors.similarity):
                self._count("preference_near_identical")
            else:
                self._plan.preferences.append((place, preference))

    def _take_thoughts(self, thoughts: Sequence[tuple[Place, TurnMessage]]) -> None:
        places = {}
        for place, thought in thoughts:
            self._keep_for_replay(place, [thought])
            if thought.id in self._batch.pairs:
                self._take_pair(place, thought)
            elif reason := self._refusal(place, thought):
                self._count(reason)
            else:
                places[thought.id] = (place, thought)
        if not places:
            return
        self._thoughts.catch_up()
        for key in list(places):
            if reason := self._thoughts.known_reason(places[key][1]):
                self._count(f"introspection_{reason}")
                del places[key]
        selection = self._thoughts.select([thought for _, thought in places.values()])
        self._plan.pairs += [places[thought.id] for thought in selection.kept]
        self._note(selection.dropped)
        for drop in selection.dropped:
            self._count(f"introspection_{drop.reason}")

    def _refusal(self, place: Place, thought: TurnMessage) -> str | None:
        if reason := refusal(thought, enabled=self._introspection):
            return reason
        if place.user is None or len(trimmed(place.user.content)) < rules.MIN_INSTRUCTION_LENGTH:
            return "introspection_without_instruction"
        return None

    def _keep_for_replay(self, place: Place, messages: Iterable[TurnMessage]) -> None:
        for message in messages:
            if kind := replay_kind(message):
                self._plan.replays.append((place, message, kind))
