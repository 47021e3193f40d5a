"""Drafts of one user turn, of which near-identical ones collapse to the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from memory import rules
from memory.extraction.turns import TurnMessage
from memory.text import content_hash

Reason = Literal["exact_duplicate", "similar"]


@dataclass(frozen=True, slots=True)
class DroppedDraft:
    """A draft that another one stands for; `similarity` is the cosine between them, in [-1, 1]."""

    draft: TurnMessage
    survivor: TurnMessage
    reason: Reason
    similarity: float


@dataclass(frozen=True, slots=True)
class DraftSelection:
    """What is left of some drafts, best first, and what was dropped at which threshold; nothing is ever lost."""

    kept: tuple[TurnMessage, ...]
    dropped: tuple[DroppedDraft, ...]
    threshold: float


def best_first(draft: TurnMessage) -> tuple[float, float, float, str, int]:
    """Return the sort key that puts the best draft first.

    The highest reward intensity wins, then the lowest loss (none comes last), then the newest; content and id decide
    between drafts that nothing else tells apart, so that the order never depends on that of the input.
    """
    loss = math.inf if draft.loss is None else draft.loss
    return (-draft.reward_intensity, loss, -draft.created_at.timestamp(), draft.content, draft.id)


def drop_exact_duplicates(drafts: Sequence[TurnMessage], *, standing: Collection[int] = ()) -> DraftSelection:
    """Keep the best of each set of `drafts` that are the same after normalisation.

    Those whose id is in `standing` come before all others and are never dropped.
    """
    kept: list[TurnMessage] = []
    dropped: list[DroppedDraft] = []
    best: dict[str, TurnMessage] = {}
    for draft in _ordered(drafts, standing):
        survivor = best.setdefault(content_hash(draft.content), draft)
        if survivor is draft or draft.id in standing:
            kept.append(draft)
        else:
            dropped.append(DroppedDraft(draft, survivor, "exact_duplicate", 1.0))
    return DraftSelection(tuple(kept), tuple(dropped), 1.0)


def drop_similar(
    drafts: Sequence[TurnMessage],
    vectors: npt.NDArray[np.float32],
    *,
    standing: Collection[int] = (),
    threshold: float = rules.DRAFT_SIMILARITY_THRESHOLD,
) -> DraftSelection:
    """Keep the best of those `drafts` whose cosine similarity is strictly above `threshold`.

    Greedy, best first: a draft is dropped if it is too similar to one that is kept, so that a chain of drafts, each
    similar to the next, never collapses to a single one that its far end has nothing in common with. Those whose id is
    in `standing` come before all others and are never dropped.

    Args:
        drafts: at least none; the result does not depend on their order.
        vectors: unit vectors of the drafts' texts, float32, shape (len(drafts), dimension).
        standing: ids of drafts that were kept earlier.
        threshold: cosine in [-1, 1]; at 1 nothing is dropped, at -1 all but one.

    Raises:
        ValueError: if there is not one vector a draft.

    """
    if vectors.ndim != 2 or len(vectors) != len(drafts):
        raise ValueError(f"vectors: got shape {vectors.shape}, allowed ({len(drafts)}, dimension)")
    rows = {draft.id: row for draft, row in zip(drafts, vectors, strict=True)}
    kept: list[TurnMessage] = []
    dropped: list[DroppedDraft] = []
    representatives = np.empty_like(vectors)
    for draft in _ordered(drafts, standing):
        if kept and draft.id not in standing:
            # Row by row rather than as a matrix product, whose last bit depends on how many rows there are.
            similarities = np.einsum("ij,j->i", representatives[: len(kept)], rows[draft.id])
            closest = int(similarities.argmax())
            if similarities[closest] > threshold:
                dropped.append(DroppedDraft(draft, kept[closest], "similar", float(similarities[closest])))
                continue
        representatives[len(kept)] = rows[draft.id]
        kept.append(draft)
    return DraftSelection(tuple(kept), tuple(dropped), threshold)


def _ordered(drafts: Sequence[TurnMessage], standing: Collection[int]) -> list[TurnMessage]:
    return sorted(drafts, key=lambda draft: (draft.id not in standing, best_first(draft)))
