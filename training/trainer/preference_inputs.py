"""A micro-batch in the shape in which TRL's preference losses read a model's output."""

from types import SimpleNamespace

import torch

from training.trainer.batches import MicroBatch
from training.trainer.scoring import TokenScores


def preference_inputs(batch: MicroBatch, scores: TokenScores) -> tuple[dict[str, torch.Tensor], SimpleNamespace]:
    """Return TRL's `inputs` and the model outputs that belong to them, for the B preference pairs of a batch.

    The inputs are of shape (2B, T), chosen rows first, with completions alone in them; the outputs `log_probs`,
    `entropy`, `mean_logits`, `is_top1` of shape (2B, T-1), 0 where a row has no token. TRL's own forward pass fills the
    same fields from whole rows.
    """
    lengths = batch.lengths[batch.sft_count :]
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths.unsqueeze(1)  # (2B, T-1)

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(mask.shape).masked_scatter(mask, values[batch.sft_tokens :])

    # TRL scores a token at the position before it: one column more, and the first is nobody's.
    completion_mask = torch.cat([mask.new_zeros(len(mask), 1), mask], dim=1).long()
    inputs = {
        "input_ids": torch.zeros_like(completion_mask),
        "attention_mask": completion_mask,
        "completion_mask": completion_mask,
        "ref_chosen_logps": batch.references[:, 0],
        "ref_rejected_logps": batch.references[:, 1],
    }
    statistics = scores.statistics
    assert statistics is not None, "the scores of preference pairs come with statistics"  # noqa: S101
    outputs = SimpleNamespace(
        log_probs=spread(scores.log_probs),
        entropy=spread(statistics.entropy),
        mean_logits=spread(statistics.mean_logits),
        is_top1=spread(statistics.is_top1),
    )
    return inputs, outputs
