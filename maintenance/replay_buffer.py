"""Which replay entries are worth their place in a buffer of limited size."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

# A reward that says nothing still is worth a little, so that among such entries the newest stay.
LEAST_SURPRISE = 0.1
# Days in which an entry loses half its priority.
HALF_LIFE_DAYS = 180.0

# What a priority is reckoned from: `said_at` in seconds since 1970; `may_stay` says whether the entry may be there at
# all, `is_buffered` whether it is there now.
ENTRY = np.dtype(
    [
        ("key", np.int64),
        ("reward", np.float64),
        ("said_at", np.float64),
        ("may_stay", np.bool_),
        ("is_buffered", np.bool_),
    ]
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400.0


def seconds(moment: datetime) -> float:
    """Return a time in seconds since 1970, as `ENTRY` has it."""
    return (moment - _EPOCH).total_seconds()


def log_priorities(entries: npt.NDArray[np.void], *, now: datetime) -> npt.NDArray[np.float64]:
    """Return the binary logarithm of each entry's priority, up to a constant; shape (n,), dtype `ENTRY`.

    Priority is (|2 · reward - 1| + `LEAST_SURPRISE`) · 2^(-age / `HALF_LIFE_DAYS`): what taught most is replayed first,
    as in prioritised experience replay (Schaul et al. 2016, arXiv 1511.05952), whose temporal-difference error is here
    the distance of the reward from the neutral one. All entries lose priority at the same rate, so that their order is
    the same every night; and in the logarithm none underflows, however old. One of the future counts as of `now`.
    """
    surprise = np.abs(2.0 * entries["reward"] - 1.0)
    said_days = np.minimum(entries["said_at"], seconds(now)) / _DAY_SECONDS
    return np.asarray(np.log2(surprise + LEAST_SURPRISE) + said_days / HALF_LIFE_DAYS, dtype=np.float64)


def kept(entries: npt.NDArray[np.void], *, size: int, now: datetime) -> npt.NDArray[np.bool_]:
    """Return which entries belong into a buffer of `size`, shape (n,), in the order given.

    Of those that may be there the first by priority, then the newest; the order given does not matter.
    """
    chosen = np.flatnonzero(entries["may_stay"])
    order = np.lexsort((-entries["key"][chosen], -log_priorities(entries[chosen], now=now)))
    belongs = np.zeros(len(entries), dtype=np.bool_)
    belongs[chosen[order[:size]]] = True
    return belongs
