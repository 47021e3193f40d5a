"""Token sequences that begin alike, packed into one row that holds the beginning once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """A prompt with its completion: token ids, of which those from `start` (at least 1) are the completion."""

    ids: tuple[int, ...]
    start: int

    @property
    def completion_length(self) -> int:
        """Tokens of the completion."""
        return len(self.ids) - self.start


@dataclass(frozen=True, slots=True)
class Segment:
    """The columns from `begin` to `end` that one sequence adds to a row, and those `before` them in that sequence."""

    begin: int
    end: int
    before: Indices


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A prefix tree of sequences, laid out in one row of T tokens.

    Every token comes after the tokens before it in its own sequences. `positions` (T,) restart where sequences
    part; `members` (T, sequences) says whose token it is; `predictors` holds for each sequence the columns whose
    output predicts its completion tokens, `targets` those tokens. `segments` divide the row.
    """

    input_ids: Indices
    positions: Indices
    members: npt.NDArray[np.bool_]
    predictors: tuple[Indices, ...]
    targets: tuple[Indices, ...]
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def branches(self) -> bool:
        """Whether some token must not see all tokens to its left."""
        return not self.members.all(axis=0).any()

    def visible(self) -> npt.NDArray[np.bool_]:
        """Return which token may attend to which, shape (T, T): to itself, and to what precedes it in a sequence.

        Two tokens that share a sequence lie on one path of the tree, on which the position says who came first.
        """
        members = self.members.astype(np.float32)
        shares_a_sequence = members @ members.T > 0
        seen: npt.NDArray[np.bool_] = shares_a_sequence & (self.positions[None, :] <= self.positions[:, None])
        return seen


def pack(sequences: Sequence[TokenSequence]) -> PackedRow:
    """Return one row in which tokens that several sequences begin with stand once.

    Scoring a sequence in it gives what scoring it alone gives, since every token sees just its own past at its own
    position.
    """
    input_ids: list[int] = []
    positions: list[int] = []
    columns: list[Indices] = []
    segments: list[Segment] = []
    for sequence in sequences:
        shared: Indices = np.empty(0, dtype=np.int64)
        for other, placed in zip(sequences, columns, strict=False):
            length = common_prefix(sequence.ids, other.ids)
            if length > len(shared):
                shared = placed[:length]
        own = sequence.ids[len(shared) :]
        segment = Segment(len(input_ids), len(input_ids) + len(own), shared)
        columns.append(np.concatenate([shared, np.arange(segment.begin, segment.end)]))
        segments.append(segment)
        input_ids += own
        positions += range(len(shared), len(sequence.ids))
    members = np.zeros((len(input_ids), len(sequences)), dtype=np.bool_)
    for number, placed in enumerate(columns):
        members[placed, number] = True
    return PackedRow(
        np.array(input_ids, dtype=np.int64),
        np.array(positions, dtype=np.int64),
        members,
        tuple(placed[s.start - 1 : -1] for s, placed in zip(sequences, columns, strict=True)),
        tuple(np.array(s.ids[s.start :], dtype=np.int64) for s in sequences),
        tuple(segment for segment in segments if segment.end > segment.begin),
    )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with in common."""
    for position, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return position
    return min(len(first), len(second))


def length_buckets(lengths: Sequence[int], *, overhead_tokens: int, largest: int) -> list[list[int]]:
    """Divide rows into batches of like length, at most `largest` rows each; return their positions, long rows first.

    Among all divisions of the rows in order of length, this is the one that computes fewest tokens, padding and
    `overhead_tokens` for every batch included: shortest path, Bellman 1958.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        best.append(
            min(
                (best[begin][0] + (end - begin) * lengths[order[begin]] + overhead_tokens, begin)
                for begin in range(max(0, end - largest), end)
            )
        )
    buckets: list[list[int]] = []
    end = len(order)
    while end > 0:
        begin = best[end][1]
        buckets.append(order[begin:end])
        end = begin
    return buckets[::-1]
