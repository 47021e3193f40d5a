"""The planned batches of both channels as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset
from trl.trainer.dpo_trainer import DataCollatorForPreference

from training.datasets import PreferenceRecord, SftRecord
from training.trainer.tokenization import Tokenization

Example = Mapping[str, Any]

# A batch says by a tensor which channel it is of: Accelerate's loader refuses anything else.
SFT, PREFERENCE = 0, 1


def sft_examples(records: Sequence[SftRecord], tokenization: Tokenization) -> list[dict[str, list[int]]]:
    """Return `prompt_ids` and `completion_ids` of each memory record."""
    examples = []
    for record in records:
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(record.prompt, [record.completion])
        examples.append({"prompt_ids": prompt_ids, "completion_ids": completion_ids})
    return examples


def preference_examples(records: Sequence[PreferenceRecord], tokenization: Tokenization) -> list[dict[str, list[int]]]:
    """Return `prompt_ids`, `chosen_ids` and `rejected_ids` of each preference record."""
    examples = []
    for record in records:
        prompt_ids, (chosen_ids, rejected_ids) = tokenization.prompt_and_answers(
            record.prompt, [record.chosen, record.rejected]
        )
        examples.append({"prompt_ids": prompt_ids, "chosen_ids": chosen_ids, "rejected_ids": rejected_ids})
    return examples


class BothChannels(Dataset[Example]):
    """The examples of both channels under one index: memory first, preference after it."""

    def __init__(self, sft: Sequence[Example], preference: Sequence[Example]) -> None:
        self.sft = sft
        self.preference = preference

    def __len__(self) -> int:
        return len(self.sft) + len(self.preference)

    def __getitem__(self, index: int) -> Example:
        return self.sft[index] if index < len(self.sft) else self.preference[index - len(self.sft)]


@dataclass
class DualCollator:
    """Pads a batch of one channel to its longest row.

    A memory batch of B examples is padded on the left, so that all completions end together: `input_ids`,
    `attention_mask`, `position_ids` and `completion_mask`, each of shape (B, T). A preference batch is TRL's, padded on
    the right: the first two and the last of shape (2B, T), chosen rows first, with `ref_chosen_logps` and
    `ref_rejected_logps` of shape (B,). `channel` is a tensor of shape (1,).
    """

    preference: DataCollatorForPreference
    pad_token_id: int

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Return the padded tensors of a batch of one channel."""
        if "completion_ids" in examples[0]:
            return {**self.sft(examples), "channel": torch.tensor([SFT])}
        return {**self.preference(list(examples)), "channel": torch.tensor([PREFERENCE])}

    def sft(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Return the padded tensors of memory examples."""
        longest = max(len(example["prompt_ids"]) + len(example["completion_ids"]) for example in examples)
        shape = (len(examples), longest)
        input_ids = torch.full(shape, self.pad_token_id)
        attention_mask, completion_mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for row, example in enumerate(examples):
            ids = [*example["prompt_ids"], *example["completion_ids"]]
            input_ids[row, longest - len(ids) :] = torch.tensor(ids)
            attention_mask[row, longest - len(ids) :] = 1
            completion_mask[row, longest - len(example["completion_ids"]) :] = 1
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": (attention_mask.cumsum(dim=1) - 1).clamp(min=0),
            "completion_mask": completion_mask,
        }
