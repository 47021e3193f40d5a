"""The order in which pairs may stand for others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# A pair that may be trained: its key, whether a person approved it, its reward (0 to 1), its loss (infinite where there
# is none), when it was said (microseconds since 1970), the first 128 bits of its content hash, whether it is a thought
# rather than something said, the key of its embedding (0 where it has none of the present embedder).
CANDIDATE = np.dtype(
    [
        ("pair", np.int64),
        ("approved", np.bool_),
        ("reward", np.float64),
        ("loss", np.float64),
        ("said", np.int64),
        ("hash_high", np.uint64),
        ("hash_low", np.uint64),
        ("introspection", np.bool_),
        ("embedding", np.int64),
    ]
)

Candidates = npt.NDArray[np.void]
Numbers = npt.NDArray[np.intp]


def ranked(candidates: Candidates) -> Candidates:
    """Return the candidates, `CANDIDATE` of shape (n,), best first.

    Approved ones come first, then high rewards, then low losses (none last), then what was said last. The content
    hash decides between equals, so that the order in which pairs were stored never does, and the key between copies.
    """
    order = np.lexsort(
        (
            candidates["pair"],
            candidates["hash_low"],
            candidates["hash_high"],
            -candidates["said"],
            candidates["loss"],
            -candidates["reward"],
            ~candidates["approved"],
        )
    )
    return candidates[order]


def leaders(candidates: Candidates) -> Numbers:
    """Return for each candidate the number of the first one with the same content, shape (n,); its own for most.

    A thought and something said are never the same.
    """
    columns = ("introspection", "hash_low", "hash_high")
    order = np.lexsort([candidates[name] for name in columns])
    begins = np.zeros(len(order), dtype=np.bool_)
    begins[:1] = True
    for name in columns:
        values = candidates[name][order]
        begins[1:] |= values[1:] != values[:-1]
    # The sort is stable: the first of a run is the first of the candidates.
    starts = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    found = np.empty(len(order), dtype=np.intp)
    found[order] = order[starts]
    return found


def hash_words(content_hash: str) -> tuple[int, int]:
    """Return the first 128 bits of a content hash of 64 hex digits, in two words.

    Raises:
        ValueError: it is no such hash, and would be taken for that of any other pair without one.

    """
    if len(content_hash) != 64:
        raise ValueError(f"content_hash: got {content_hash!r}, allowed are 64 hex digits")
    return int(content_hash[:16], 16), int(content_hash[16:32], 16)
