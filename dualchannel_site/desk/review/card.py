"""All that the page shows of one pair under review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.urls import reverse

from dualchannel_site.desk.review.channels import ReviewChannel
from dualchannel_site.desk.review.drafts import Draft, drafts_of
from dualchannel_site.desk.review.history import HistoryEntry, pair_history
from dualchannel_site.desk.review.queue import Group
from dualchannel_site.desk.review.talk import Talk, talk_of
from dualchannel_site.desk.review.word_diff import word_diff
from maintenance.models import Proposal
from memory import curation
from memory.admin.pairs import REVIEW_COLOURS
from memory.curation.editing import EDITABLE
from memory.models import PreferencePair, SftPair

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# Open proposals of one pair that are shown; more of them are on the list of proposals.
SHOWN_PROPOSALS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of a preference pair, in parts: words that the other side has, too, and words that it has not."""

    name: str
    title: str
    segments: Sequence[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An open proposal of the night, seen from the pair: which of both would stay, the other pair and its `state`."""

    proposal: Proposal
    other: SftPair | PreferencePair
    keeps_this: bool
    state: str

    @property
    def texts(self) -> tuple[str, str]:
        """The words of the other pair."""
        other = self.other
        return (
            (other.chosen, other.rejected) if isinstance(other, PreferencePair) else (other.instruction, other.response)
        )


@dataclass(frozen=True, slots=True)
class Card:
    """One pair with everything around it.

    `state` is what a decision on it has to name, `may_undo` says whether the person who looks may take one back.
    """

    channel: ReviewChannel
    pair: SftPair | PreferencePair
    state: str
    group: Group | None
    talk: Talk
    drafts: Sequence[Draft]
    answers: Sequence[Answer]
    suggestions: Sequence[Suggestion]
    history: Sequence[HistoryEntry]
    may_undo: bool

    @property
    def instruction(self) -> str:
        """What the person said."""
        pair = self.pair
        return str(pair.prompt[-1]["content"]) if isinstance(pair, PreferencePair) else pair.instruction

    @property
    def editable(self) -> Sequence[tuple[str, str]]:
        """The columns that are edited on the page, each with its text."""
        return [(name, str(getattr(self.pair, name))) for name in EDITABLE[self.channel.model]]

    @property
    def score(self) -> float:
        """Reward of a memory pair, margin of a preference pair."""
        return float(getattr(self.pair, self.channel.score))

    @property
    def status_colour(self) -> str:
        """The colour of the review status, as on the lists."""
        return REVIEW_COLOURS[self.pair.review_status]

    @property
    def record(self) -> str:
        """The address of the pair's change page."""
        return reverse(f"admin:memory_{self.channel.model._meta.model_name}_change", args=[self.pair.pk])

    @property
    def why_not_trained(self) -> str:
        """Why training leaves the pair alone, whatever a person decides; empty where it does not."""
        pair = self.pair
        if pair.merged_into_id is not None:
            return f"merged into pair {pair.merged_into_id}"
        if pair.archived_at is not None:
            return "archived"
        if pair.conversation is not None and not pair.conversation.training_allowed:
            return "no consent"
        if pair.sampling_weight == 0 or (isinstance(pair, SftPair) and pair.reward_intensity == 0):
            return "weighted to nothing"
        return ""


def find_pair(channel: ReviewChannel, pk: int) -> SftPair | PreferencePair | None:
    """Return a pair with its conversation, or None; one query."""
    found: SftPair | PreferencePair | None = (
        channel.model._default_manager.select_related("conversation").filter(pk=pk).first()
    )
    return found


def load_card(
    channel: ReviewChannel, pair: SftPair | PreferencePair, *, group: Group | None, user: User | AnonymousUser
) -> Card:
    """Return the card of a pair; a fixed number of queries, whatever the conversation and the history."""
    talk = talk_of(pair)
    proposals = _open_proposals(channel, pair)
    states = curation.states_of([pair, *(other for _, other, _ in proposals)])
    history = pair_history(pair)
    was_decided = any(entry.is_decision for entry in history)
    return Card(
        channel=channel,
        pair=pair,
        state=states[pair.pk],
        group=group,
        talk=talk,
        drafts=drafts_of(pair, talk.drafts) if isinstance(pair, SftPair) else (),
        answers=_answers(pair) if isinstance(pair, PreferencePair) else (),
        suggestions=[Suggestion(*each, states[each[1].pk]) for each in proposals],
        history=history,
        may_undo=was_decided and curation.can_undo(pair=pair, user=user),
    )


def _answers(pair: PreferencePair) -> list[Answer]:
    rejected, chosen = word_diff(pair.rejected, pair.chosen)
    return [
        Answer("chosen", "Chosen", chosen),
        Answer("rejected", "Rejected", rejected),
    ]


def _open_proposals(channel: ReviewChannel, pair: SftPair | PreferencePair) -> list[tuple[Proposal, Any, bool]]:
    """Return the open proposals about the pair, each with the other pair, and whether this one would stay."""
    newer, older = channel.link, f"other_{channel.link}"
    found = Proposal.objects.open().filter(Q(**{newer: pair}) | Q(**{older: pair})).select_related(newer, older)
    proposals = []
    for proposal in found.order_by("-similarity", "-pk")[:SHOWN_PROPOSALS]:
        keeps_this = getattr(proposal, f"{newer}_id") == pair.pk
        proposals.append((proposal, getattr(proposal, older if keeps_this else newer), keeps_this))
    return proposals
