"""Which pairs a run has used without effect."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from training.sampling.plan import Channel

# A memory pair whose loss fell by less than this share since its first use has hardly moved.
LEAST_FALL_RATIO = 0.1
# A memory pair at or under this mean token loss, in nats, is known: its tokens have a probability of 0.6 and more.
KNOWN_LOSS = 0.5


class Change(Protocol):
    """What a run did to a pair, as `training.trainer.run.PairChange` says it.

    `before` and `after` are the mean token loss in nats of a memory pair, at its first use and after the run; of a
    preference pair the implicit reward margin.
    """

    @property
    def channel(self) -> Channel:
        """The channel of the pair."""

    @property
    def index(self) -> int:
        """Where the pair is in its channel's pool."""

    @property
    def before(self) -> float:
        """The value before the run had an effect on the pair."""

    @property
    def after(self) -> float:
        """The value after the run."""


AnyChange = TypeVar("AnyChange", bound=Change)


def did_not_stick(changes: Iterable[AnyChange]) -> tuple[AnyChange, ...]:
    """Return the changes of pairs that were not learned: memory first, within a channel the least moved first.

    A memory pair did not stick where its loss is over `KNOWN_LOSS` still, and fell by less than `LEAST_FALL_RATIO`;
    a preference pair where the model does not favour the chosen answer more than its reference does.
    """
    left = [change for change in changes if not _stuck(change)]
    return tuple(sorted(left, key=lambda change: (change.channel != "sft", _movement(change))))


def _stuck(change: Change) -> bool:
    if change.channel == "preference":
        return change.after > 0
    return change.after <= KNOWN_LOSS or _movement(change) >= LEAST_FALL_RATIO


def _movement(change: Change) -> float:
    """Return the relative fall of a memory pair's loss, or a preference pair's margin."""
    if change.channel == "preference":
        return change.after
    # A loss that has risen from nothing has moved the wrong way as far as can be.
    return 1 - change.after / change.before if change.before else -float("inf")
