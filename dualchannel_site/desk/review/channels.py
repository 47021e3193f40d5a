"""The two channels as the review names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import Http404

from memory.models import PreferencePair, SftPair
from training.sampling.plan import Channel

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


@dataclass(frozen=True, slots=True)
class ReviewChannel:
    """One channel: its name in addresses and on the page, its pairs, its name at the trainer, its score's column."""

    name: str
    title: str
    model: type[SftPair] | type[PreferencePair]
    plan_channel: Channel
    score: str

    @property
    def link(self) -> str:
        """Return the column by which proposals, uses and vectors name a pair of this channel."""
        return f"{self.plan_channel}_pair"

    def may_see(self, user: User | AnonymousUser) -> bool:
        """Return whether this person may look at the pairs."""
        return user.has_perm(self._permission("view")) or self.may_decide(user)

    def may_decide(self, user: User | AnonymousUser) -> bool:
        """Return whether this person may change the pairs."""
        return user.has_perm(self._permission("change"))

    def _permission(self, action: str) -> str:
        return f"memory.{action}_{self.model._meta.model_name}"


CHANNELS: Mapping[str, ReviewChannel] = {
    channel.name: channel
    for channel in (
        ReviewChannel("memory", "Review: Memory", SftPair, "sft", "reward_intensity"),
        ReviewChannel("preference", "Review: Preferences", PreferencePair, "preference", "margin"),
    )
}


def channel_of(name: str) -> ReviewChannel:
    """Return the channel of that name in an address.

    Raises:
        Http404: there is none.

    """
    try:
        return CHANNELS[name]
    except KeyError:
        raise Http404(f"channel: got {name!r}, allowed {', '.join(CHANNELS)}") from None
