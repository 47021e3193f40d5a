"""The pull towards the base model on general text."""

from collections.abc import Sequence

import torch
from trl.trainer.utils import use_adapter

from training.trainer.batches import DualCollator, Example
from training.trainer.completions import completion_logits


class Retention:
    """Measures how far the model's next-token distributions on general text have moved from the base's.

    Learning without forgetting, Li & Hoiem 2016, arXiv 1606.09282, with the base as the teacher: the term is
    KL(base || model), averaged over the completion tokens of a batch, in nats.
    """

    def __init__(
        self, examples: Sequence[Example], collator: DualCollator, *, weight: float, every_steps: int, batch_size: int
    ) -> None:
        self.examples = examples
        self.collator = collator
        self.weight = weight
        self.every_steps = every_steps
        self.batch_size = batch_size

    def kl(self, model: torch.nn.Module, *, turn: int) -> torch.Tensor:
        """Return the KL term, a scalar, of the batch whose turn (from 0) it is; the texts come round in order."""
        start = turn * self.batch_size
        chosen = [self.examples[(start + offset) % len(self.examples)] for offset in range(self.batch_size)]
        device = next(model.parameters()).device
        batch = {name: tensor.to(device) for name, tensor in self.collator.sft(chosen).items()}
        with torch.no_grad(), use_adapter(model, adapter_name=None):
            target = completion_logits(model, batch)[0].float().log_softmax(-1)  # (tokens, vocab)
        current = completion_logits(model, batch)[0].float().log_softmax(-1)  # (tokens, vocab)
        return torch.nn.functional.kl_div(current, target, log_target=True, reduction="batchmean")
