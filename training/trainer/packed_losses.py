"""TRL's trainer on micro-batches of packed rows: the losses of both channels."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import DPOTrainer
from trl.trainer.utils import use_adapter

from training.sampling.plan import Channel
from training.trainer.batches import MicroBatch
from training.trainer.course import StepMetrics
from training.trainer.preference_inputs import preference_inputs
from training.trainer.scoring import PlacedLogits, TokenScores, score_tokens


class PackedLosses(DPOTrainer):
    """Computes TRL's losses, and the memory channel's, from one pass over rows that share what they begin with."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """Leave the dataset alone: examples come tokenised."""
        return dataset

    def scores(self, model: torch.nn.Module, batch: MicroBatch) -> TokenScores:
        """Return what the model says of the batch's completion tokens."""
        placed: PlacedLogits = model(**batch.inputs, places=batch.places)
        return score_tokens(placed.values, batch.targets, statistics=batch.preference_count > 0)

    def raw_losses(
        self, batch: MicroBatch, scores: TokenScores, totals: Mapping[Channel, float], metrics: StepMetrics
    ) -> dict[Channel, torch.Tensor]:
        """Return the batch's part of each channel's loss in the step, scalars in nats.

        `totals` are the step's, over all processes: the parts of all batches add up to the mean over the step's memory
        tokens, or preference pairs; those of processes average to it, as their gradients do.
        """
        processes = self.accelerator.num_processes
        raw: dict[Channel, torch.Tensor] = {}
        if batch.sft_count:
            raw["sft"] = -scores.log_probs[: batch.sft_tokens].sum() * (processes / totals["sft"])
        if batch.preference_count:
            mean = self._preference_loss(batch, scores, metrics)
            raw["preference"] = mean * (batch.preference_count * processes / totals["preference"])
        return raw

    def _preference_loss(self, batch: MicroBatch, scores: TokenScores, metrics: StepMetrics) -> torch.Tensor:
        """Return TRL's mean loss of the batch's pairs, a scalar, with TRL's metrics put into `metrics`."""
        inputs, outputs = preference_inputs(batch, scores)
        with _ungathered(self.accelerator):
            loss: torch.Tensor = self._compute_loss(lambda **_: outputs, inputs, return_outputs=False)
        for name, (value,) in self._metrics["train"].items():
            if name != "num_tokens":
                metrics.add_mean(f"preference/{name}", value, weight=batch.preference_count)
        self._metrics["train"].clear()
        return loss

    def reference_logits(self, batch: MicroBatch) -> PlacedLogits:
        """Return what the reference says at the batch's places; dropout is off."""
        model = self.accelerator.unwrap_model(self.model)
        name = "ref" if "ref" in model.peft_config else None
        was_training = model.training
        model.eval()
        with torch.no_grad(), use_adapter(model, adapter_name=name), self.accelerator.autocast():
            placed: PlacedLogits = model(**batch.inputs, places=batch.places)
        model.train(was_training)
        return placed

    def policy_logits(self, batch: MicroBatch) -> PlacedLogits:
        """Return what the model as trained so far says at the batch's places."""
        model = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), self.accelerator.autocast():
            placed: PlacedLogits = model(**batch.inputs, places=batch.places)
        return placed

    def totals(self, batches: Sequence[MicroBatch]) -> dict[Channel, float]:
        """Return the memory tokens and the preference pairs of the step, over all processes."""
        counts = torch.tensor(
            [sum(batch.sft_tokens for batch in batches), sum(batch.preference_count for batch in batches)],
            dtype=torch.float32,
            device=self.accelerator.device,
        )
        reduced = self.accelerator.reduce(counts, reduction="sum").tolist()
        return {"sft": reduced[0], "preference": reduced[1]}


@contextlib.contextmanager
def _ungathered(accelerator: Any) -> Iterator[None]:
    """Keep TRL from gathering its metrics at every micro-batch, of which processes may have different numbers."""
    if accelerator.num_processes == 1:
        yield
        return
    names = ("gather", "gather_for_metrics")
    for name in names:
        setattr(accelerator, name, lambda value, *_, **__: value)
    try:
        yield
    finally:
        for name in names:
            delattr(accelerator, name)
