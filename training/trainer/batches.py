"""The batches of an optimiser step as tensors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from training.datasets import Chat, PreferenceRecord, SftRecord
from training.sampling.plan import Channel
from training.trainer.packing import PackedRow, TokenSequence, common_prefix, length_buckets, pack
from training.trainer.scoring import Places
from training.trainer.tokenization import Tokenization
from training.trainer.tree_attention import attention_blocks

# A further batch costs about as much as this many tokens: every layer's weights are read once more.
BATCH_OVERHEAD_TOKENS = 128
# Sequences of one conversation share a row where they have at least this many tokens in common.
LEAST_SHARED_TOKENS = 32
_TENSORS = ("rows", "columns", "targets", "sequences", "lengths", "references")


@dataclass(frozen=True, slots=True)
class Example:
    """One training pair as tokens: a memory pair has one sequence, a preference pair the chosen, then the rejected.

    `index` is the pair's position in its pool; `references` are the reference log-probabilities of the two sequences in
    nats, summed over their tokens.
    """

    channel: Channel
    index: int
    sequences: tuple[TokenSequence, ...]
    conversation: str | None = None
    references: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of R pairs or conversations that run through the model at once, T tokens wide.

    `inputs` are the model's own: `input_ids`, `position_ids`, each of shape (R, T), and `attention_mask`, of shape
    (R, T), or (R, 1, T, T) where rows branch; `blocks` say the same to `tree_attention`. `rows`, `columns`, `targets`,
    `sequences` of shape (N,) name for each completion token the place that predicts it, the token, its sequence.
    Sequences are numbered through: those of memory pairs, then all chosen ones, then all rejected ones; `lengths` holds
    the tokens of each completion.
    `examples` are the positions of the pairs among those that were given, in the order of the sequences.
    """

    inputs: Mapping[str, Any]
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    sequences: torch.Tensor
    lengths: torch.Tensor
    sft_count: int
    preference_count: int
    references: torch.Tensor
    examples: tuple[int, ...]
    tokens: int

    @property
    def places(self) -> Places:
        """Where the outputs are that predict the targets."""
        return Places(self.rows, self.columns)

    @property
    def sft_tokens(self) -> int:
        """Completion tokens of the memory pairs."""
        return int(self.lengths[: self.sft_count].sum())

    def by_sequence(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of the completion tokens, shape (N,), summed by sequence, shape (sequences,)."""
        return values.new_zeros(len(self.lengths)).index_add(0, self.sequences, values)

    def to(self, device: torch.device) -> "MicroBatch":
        """Return the batch with its tensors on `device`."""
        moved = {name: getattr(self, name).to(device) for name in _TENSORS}
        inputs = {name: v.to(device) if isinstance(v, torch.Tensor) else v for name, v in self.inputs.items()}
        return replace(self, inputs=inputs, **moved)


def sft_examples(
    records: Sequence[SftRecord], tokenization: Tokenization, *, drawn: Collection[int] | None = None
) -> list[Example]:
    """Return the memory records as tokens; those outside of the positions `drawn`, where given, have none."""
    examples = []
    for index, record in enumerate(records):
        if drawn is not None and index not in drawn:
            examples.append(Example("sft", index, ()))
            continue
        prompt, (completion,) = tokenization.prompt_and_answers(record.prompt, [record.completion])
        examples.append(Example("sft", index, (_sequence(prompt, completion),), record.conversation))
    return examples


def retention_examples(chats: Sequence[tuple[Chat, Chat]], tokenization: Tokenization) -> list[Example]:
    """Return chats of a prompt with its completion as tokens."""
    examples = []
    for index, (prompt, completion) in enumerate(chats):
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(prompt, [completion])
        examples.append(Example("sft", index, (_sequence(prompt_ids, completion_ids),)))
    return examples


def preference_examples(
    records: Sequence[PreferenceRecord], tokenization: Tokenization, *, drawn: Collection[int] | None = None
) -> list[Example]:
    """Return the preference records as tokens; those outside of the positions `drawn`, where given, have none."""
    examples = []
    for index, record in enumerate(records):
        if drawn is not None and index not in drawn:
            examples.append(Example("preference", index, ()))
            continue
        prompt, answers = tokenization.prompt_and_answers(record.prompt, [record.chosen, record.rejected])
        sequences = tuple(_sequence(prompt, answer) for answer in answers)
        examples.append(Example("preference", index, sequences, record.conversation))
    return examples


def _sequence(prompt: Sequence[int], completion: Sequence[int]) -> TokenSequence:
    return TokenSequence((*prompt, *completion), start=len(prompt))


@dataclass(frozen=True, slots=True)
class _Row:
    """A packed row with the sequences in it: the number of an example, and of the sequence within that."""

    keys: tuple[tuple[int, int], ...]
    packed: PackedRow


@dataclass(frozen=True, slots=True)
class Batching:
    """How pairs become micro-batches.

    `shares_prefixes` packs sequences that begin alike into one row; without it each has its own. `whole` keeps a
    step in one micro-batch, for losses that compare pairs with each other. `in_blocks` serves a model that
    `tree_attention` serves. A micro-batch has at most `largest` rows.
    """

    pad_token_id: int
    shares_prefixes: bool = True
    in_blocks: bool = False
    whole: bool = False
    additive_mask: bool = False
    largest: int = 64

    def micro_batches(self, examples: Sequence[Example], *, parts: int = 1) -> list[MicroBatch]:
        """Divide the pairs of a step into micro-batches of like length: as many as save padding, at least `parts`."""
        blocks = [self._block(examples, group) for group in self._groups(examples)]
        lengths = [max(len(row.packed) for row in block) for block in blocks]
        if self.whole:
            return [self._collate(examples, [row for block in blocks for row in block])]
        largest = min(self.largest, -(-len(blocks) // parts))
        buckets = length_buckets(lengths, overhead_tokens=BATCH_OVERHEAD_TOKENS, largest=largest)
        return [self._collate(examples, [row for number in bucket for row in blocks[number]]) for bucket in buckets]

    def _block(self, examples: Sequence[Example], group: Sequence[int]) -> list[_Row]:
        """Return the rows of examples that stay together: one that they share, or one for each sequence."""
        keys = [(index, number) for index in group for number in range(len(examples[index].sequences))]
        shared = [keys] if self.shares_prefixes else [[key] for key in keys]
        return [_Row(tuple(row), pack([examples[index].sequences[n] for index, n in row])) for row in shared]

    def _groups(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return which examples share a row: those of one conversation that begin alike, as far as a row reaches."""
        if not self.shares_prefixes:
            return [[index] for index in range(len(examples))]
        longest = max((len(s.ids) for example in examples for s in example.sequences), default=0)
        groups: list[list[int]] = []
        room: list[int] = []
        for index, example in enumerate(examples):
            size = sum(len(s.ids) for s in example.sequences)
            for number, group in enumerate(groups):
                first = examples[group[0]]
                shared = common_prefix(first.sequences[0].ids, example.sequences[0].ids)
                related = example.conversation is not None and example.conversation == first.conversation
                if related and shared >= LEAST_SHARED_TOKENS and room[number] >= size - shared:
                    group.append(index)
                    room[number] -= size - shared
                    break
            else:
                groups.append([index])
                room.append(2 * longest - size)
        return groups

    def _collate(self, examples: Sequence[Example], rows: Sequence[_Row]) -> MicroBatch:
        stands = {key: (number, within) for number, row in enumerate(rows) for within, key in enumerate(row.keys)}
        indices = list(dict.fromkeys(index for index, _ in stands))
        sft = [index for index in indices if examples[index].channel == "sft"]
        preference = [index for index in indices if examples[index].channel == "preference"]
        order = [(index, 0) for index in (*sft, *preference)] + [(index, 1) for index in preference]
        placed = [stands[key] for key in order]
        lengths = torch.tensor([len(rows[number].packed.targets[within]) for number, within in placed])
        references = [examples[index].references or (0.0, 0.0) for index in preference]
        return MicroBatch(
            inputs=self._inputs([row.packed for row in rows]),
            rows=torch.tensor([number for number, _ in placed]).repeat_interleave(lengths),
            columns=_joined([rows[number].packed.predictors[within] for number, within in placed]),
            targets=_joined([rows[number].packed.targets[within] for number, within in placed]),
            sequences=torch.arange(len(order)).repeat_interleave(lengths),
            lengths=lengths,
            sft_count=len(sft),
            preference_count=len(preference),
            references=torch.tensor(references, dtype=torch.float32).reshape(-1, 2),
            examples=(*sft, *preference),
            tokens=sum(len(row.packed) for row in rows),
        )

    def _inputs(self, rows: Sequence[PackedRow]) -> dict[str, Any]:
        width = max(len(row) for row in rows)
        input_ids = torch.full((len(rows), width), self.pad_token_id)
        positions = torch.zeros((len(rows), width), dtype=torch.long)
        branches = any(row.branches for row in rows)
        mask = np.zeros((len(rows), width, width) if branches else (len(rows), width), dtype=np.bool_)
        for number, row in enumerate(rows):
            size = len(row)
            input_ids[number, :size] = torch.from_numpy(row.input_ids)
            positions[number, :size] = torch.from_numpy(row.positions)
            if branches:
                mask[number, :size, :size] = row.visible()
                # Padding sees itself: a token that sees nothing has no softmax.
                mask[number, range(size, width), range(size, width)] = True
            else:
                mask[number, :size] = True
        inputs = {"input_ids": input_ids, "position_ids": positions, "attention_mask": self._mask(mask, branches)}
        return {**inputs, "blocks": attention_blocks(rows)} if self.in_blocks else inputs

    def _mask(self, mask: np.ndarray[Any, np.dtype[np.bool_]], branches: bool) -> torch.Tensor:
        allowed = torch.from_numpy(mask)
        if not branches:
            return allowed.long()
        allowed = allowed.unsqueeze(1)
        if not self.additive_mask:
            return allowed
        return torch.zeros(allowed.shape).masked_fill_(~allowed, torch.finfo(torch.float32).min)


def _joined(parts: Sequence[np.ndarray[Any, np.dtype[np.int64]]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts))


class BothChannels(Dataset[Example]):
    """The examples of both channels under one index: memory first, preference after it."""

    def __init__(self, sft: Sequence[Example], preference: Sequence[Example]) -> None:
        self.sft = sft
        self.preference = preference

    def __len__(self) -> int:
        return len(self.sft) + len(self.preference)

    def __getitem__(self, index: int) -> Example:
        return self.sft[index] if index < len(self.sft) else self.preference[index - len(self.sft)]
