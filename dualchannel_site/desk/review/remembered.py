"""What a person's session keeps of the review: the pairs that were skipped, the decisions that can be undone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dualchannel_site.desk.review.channels import ReviewChannel

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

# The oldest is forgotten then: a skipped pair is shown again, a decision is undone on its own page.
MAX_SKIPPED = 200
MAX_DECIDED = 50


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that can be undone: on which pair, which pair and proposal it changed, what the page said.

    One that changed neither put the pair off. `record` is what the history of the changed pair says of it.
    """

    shown: int
    changed: int | None
    proposal: int | None
    text: str
    record: int | None = None


def skipped(session: SessionBase, channel: ReviewChannel) -> list[int]:
    """Return the pairs that were put off in this session, in that order."""
    return list(session.get(_skipped_key(channel), []))


def skip(session: SessionBase, channel: ReviewChannel, pk: int) -> None:
    """Put a pair off until the end of the session, or until `unskip`."""
    others = [each for each in skipped(session, channel) if each != pk]
    session[_skipped_key(channel)] = [*others, pk][-MAX_SKIPPED:]


def unskip(session: SessionBase, channel: ReviewChannel, pk: int | None = None) -> None:
    """Let a pair wait at its place again; without `pk`, all of them."""
    others = [each for each in skipped(session, channel) if pk is not None and each != pk]
    session[_skipped_key(channel)] = others


def remember(session: SessionBase, channel: ReviewChannel, decided: Decided) -> None:
    """Keep a decision as the one to be undone first."""
    session[_decided_key(channel)] = [*session.get(_decided_key(channel), []), asdict(decided)][-MAX_DECIDED:]


def last(session: SessionBase, channel: ReviewChannel) -> Decided | None:
    """Return the decision that would be undone, if there is one."""
    kept = session.get(_decided_key(channel), [])
    return Decided(**kept[-1]) if kept else None


def forget_last(session: SessionBase, channel: ReviewChannel) -> None:
    """Forget the newest decision, which was undone or cannot be."""
    session[_decided_key(channel)] = session.get(_decided_key(channel), [])[:-1]


def forget(session: SessionBase, channel: ReviewChannel, record: int) -> None:
    """Forget the decision of which the history has that `record`, which was undone elsewhere."""
    kept = session.get(_decided_key(channel), [])
    session[_decided_key(channel)] = [each for each in kept if each.get("record") != record]


def _skipped_key(channel: ReviewChannel) -> str:
    return f"review_skipped_{channel.name}"


def _decided_key(channel: ReviewChannel) -> str:
    return f"review_decided_{channel.name}"
