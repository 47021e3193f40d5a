"""Preference pairs that are another one the other way round."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from maintenance.merging.candidates import Pool
from maintenance.merging.ranking import Numbers, hash_words
from memory.bulk import key_list
from memory.models import PreferencePair
from memory.text import preference_hash

_TEXTS_READ = 2_000


def turned_round(
    pool: Pool, new: Numbers, *, using: str, on_progress: Callable[[float], None]
) -> tuple[Numbers, Numbers]:
    """Return the pairs of candidates with one prompt whose chosen answer the other one rejects, and the reverse.

    Args:
        pool: preference pairs.
        new: numbers of the candidates of which each pair must have one, shape (m,).
        using: the database.
        on_progress: called now and then with the share that is done, 0 to 1.

    Returns:
        The better ranked one of each two, ascending, and the other one, shape (k,) both.

    """
    by_key = new[np.argsort(pool.candidates["pair"][new])]
    keys = pool.candidates["pair"][by_key]
    order = np.argsort(pool.candidates["hash_high"], kind="stable")
    highs = pool.candidates["hash_high"][order]
    found: set[tuple[int, int]] = set()
    for start in range(0, len(keys), _TEXTS_READ):
        portion = keys[start : start + _TEXTS_READ].tolist()
        pairs = PreferencePair.objects.using(using).filter(pk__in=key_list(portion, using=using))
        rows = list(pairs.order_by("pk").values_list("pk", "prompt", "chosen", "rejected"))
        numbers = by_key[np.searchsorted(keys, [pk for pk, *_ in rows])]
        words = [hash_words(preference_hash(prompt, rejected, chosen)) for _, prompt, chosen, rejected in rows]
        wanted = np.array(words, dtype=np.uint64).reshape(-1, 2)
        places = np.minimum(np.searchsorted(highs, wanted[:, 0]), len(highs) - 1)
        others = order[places]
        matches = (highs[places] == wanted[:, 0]) & (pool.candidates["hash_low"][others] == wanted[:, 1])
        pairs_found: npt.NDArray[np.intp] = np.sort(np.stack([numbers[matches], others[matches]], axis=1), axis=1)
        found |= {(one, other) for one, other in pairs_found.tolist()}
        on_progress((start + len(portion)) / len(keys))
    first, second = np.array(sorted(found), dtype=np.intp).reshape(-1, 2).T
    return first, second
