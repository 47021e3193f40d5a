"""Pairs that go together: one that stays, and those it stands for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from maintenance.merging.candidates import Pool
from maintenance.merging.greedy import KEPT, Assignment
from maintenance.merging.ranking import Numbers


@dataclass(frozen=True, slots=True)
class Merges:
    """Which candidate stands for which, by their numbers, sorted by survivor, then member.

    Attributes:
        member: the candidate that goes, shape (k,).
        survivor: the one that stays, shape (k,); never a member itself.
        similarity: their cosine, 1 where both have the same content, shape (k,).

    """

    member: Numbers
    survivor: Numbers
    similarity: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.member)


def merges(pool: Pool, assignment: Assignment | None) -> Merges:
    """Return who goes where: copies with the first of their content, and that one as `assignment` says.

    `assignment` speaks of the rows of `pool.compared`; without it only copies go.
    """
    goes_to = np.arange(len(pool.candidates))
    similarity = np.ones(len(goes_to), dtype=np.float32)
    if assignment is not None:
        gone = np.flatnonzero(assignment.into != KEPT)
        goes_to[pool.compared[gone]] = pool.compared[assignment.into[gone]]
        similarity[pool.compared[gone]] = assignment.similarity[gone]
    survivor = goes_to[pool.leaders]
    member = np.flatnonzero(survivor != np.arange(len(survivor)))
    member = member[np.argsort(survivor[member], kind="stable")]
    return Merges(member, survivor[member], similarity[pool.leaders[member]])
