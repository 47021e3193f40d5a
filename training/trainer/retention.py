"""The pull towards the reference model on general text."""

from collections.abc import Callable, Sequence

import torch

from training.trainer.batches import Batching, Example, MicroBatch
from training.trainer.scoring import PlacedLogits

# Reference distributions are kept up to this size in float16, so that every text is run through the reference once.
CACHE_BYTES = 2**30


class Retention:
    """Measures how far the model's next-token distributions on general text have moved from the reference's.

    Learning without forgetting, Li & Hoiem 2016, arXiv 1606.09282, with the reference as the teacher: the term is
    KL(reference || model), averaged over the completion tokens of a batch, in nats.
    """

    def __init__(
        self, examples: Sequence[Example], batching: Batching, *, weight: float, every_steps: int, batch_size: int
    ) -> None:
        self.weight = weight
        self.every_steps = every_steps
        self._groups = [
            [examples[(start + offset) % len(examples)] for offset in range(min(batch_size, len(examples)))]
            for start in range(0, len(examples), batch_size)
        ]
        self._batching = batching
        self._cache: dict[tuple[int, int], torch.Tensor] = {}
        self._cached_bytes = 0

    def is_due(self, step: int) -> bool:
        """Return whether the term belongs to this step (from 0)."""
        return step % self.every_steps == 0

    def kl(
        self,
        step: int,
        *,
        current: Callable[[MicroBatch], PlacedLogits],
        reference: Callable[[MicroBatch], PlacedLogits],
        device: torch.device,
    ) -> torch.Tensor:
        """Return the KL term of a step, a scalar; the texts come round in order."""
        turn = step // self.every_steps % len(self._groups)
        total, tokens = torch.zeros((), device=device), 0
        micro_batches = self._batching.micro_batches(self._groups[turn])
        for number, batch in enumerate(micro_batches):
            placed = batch.to(device)
            target = self._target((turn, number), placed, reference)
            log_probs = current(placed).values.float().log_softmax(-1)
            total = total + torch.nn.functional.kl_div(log_probs, target, log_target=True, reduction="sum")
            tokens += len(placed.targets)
        return total / tokens

    def _target(
        self, key: tuple[int, int], batch: MicroBatch, reference: Callable[[MicroBatch], PlacedLogits]
    ) -> torch.Tensor:
        """Return the reference's log-probabilities, rounded to float16 whether they were kept or not."""
        kept = self._cache.get(key)
        if kept is None:
            with torch.no_grad():
                kept = reference(batch).values.float().log_softmax(-1).to("cpu", torch.float16)
            size = kept.numel() * kept.element_size()
            if self._cached_bytes + size <= CACHE_BYTES:
                self._cache[key] = kept
                self._cached_bytes += size
        return kept.to(batch.targets.device).float().log_softmax(-1)
