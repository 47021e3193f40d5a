"""The trainer of both channels: TRL's DPO, with a memory stream beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    get_scheduler,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import DPOConfig, DPOTrainer

from training.sampling.plan import PlannedStep
from training.trainer.batches import SFT, BothChannels, DualCollator, Example
from training.trainer.completions import CompletionScorer, completion_logits
from training.trainer.retention import Retention


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimiser step did: its number (from 1), its plan, the loss of its channel, KL on retention text."""

    step: int
    planned: PlannedStep
    loss: float
    retention_kl: float | None
    learning_rate: float


class DivergedError(RuntimeError):
    """The loss is no longer a number; training stops."""


class DualChannelTrainer(DPOTrainer):
    """Trains a LoRA adapter on a planned sequence of memory batches and preference batches.

    Preference batches go through TRL's own DPO loss (Rafailov et al. 2023, arXiv 2305.18290); memory batches
    through the mean negative log-likelihood of the completion tokens, which is SFT's. The reference is the model
    without its adapter, computed once for each pair.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: DPOConfig,
        tokenizer: PreTrainedTokenizerBase,
        lora: LoraConfig,
        *,
        sft: Sequence[Example],
        preference: Sequence[Example],
        steps: Sequence[PlannedStep],
        learning_rates: dict[str, float],
        retention: Retention | None,
        on_step: Callable[[StepResult], None],
    ) -> None:
        self.sft_examples = sft
        self.planned_steps = steps
        self.learning_rates = learning_rates
        self.retention = retention
        self._on_step = on_step
        self._last_loss: tuple[float, float | None] = (float("nan"), None)
        self.tokens_seen = 0
        super().__init__(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(list(preference)),
            processing_class=tokenizer,
            peft_config=lora,
        )
        # Both write to standard output, which belongs to the command's own answer.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.add_callback(_StepEnd(self))

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        """Leave the preference examples as they are: they come tokenised."""
        return dataset

    def get_train_dataloader(self) -> DataLoader[Example]:
        """Return the planned batches in their order, one a step."""
        preference = self.train_dataset
        offset = {"sft": 0, "preference": len(self.sft_examples)}
        batches = [[offset[step.channel] + index for index in step.indices] for step in self.planned_steps]
        loader = DataLoader(
            BothChannels(self.sft_examples, preference),
            batch_sampler=batches,
            collate_fn=DualCollator(self.data_collator, self._tokenizer.pad_token_id),
        )
        prepared: DataLoader[Example] = self.accelerator.prepare(loader)
        return prepared

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """Let each step run at its channel's own learning rate, under the shared course of warm-up and decay."""
        used = optimizer or self.optimizer
        assert used is not None, "the optimizer is made before its scheduler"  # noqa: S101
        course = get_scheduler(
            self.args.lr_scheduler_type,
            optimizer=used,
            num_warmup_steps=self.args.get_warmup_steps(num_training_steps),
            num_training_steps=num_training_steps,
        ).lr_lambdas[0]
        relative = [self.learning_rates[step.channel] / self.args.learning_rate for step in self.planned_steps]
        # The scheduler moves on once more after the last step.
        relative.append(0.0)
        self.lr_scheduler = LambdaLR(used, lambda step: course(step) * relative[step])
        return self.lr_scheduler

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of one batch of either channel, a scalar, with the KL term where its turn has come."""
        channel = int(inputs.pop("channel")[0])
        self.tokens_seen += int(inputs["attention_mask"].sum())
        loss: torch.Tensor
        if channel == SFT:
            loss = sft_loss(model, inputs)
            self._metrics["train"]["sft/loss"].append(loss.item())
        else:
            loss = self._compute_loss(_scorer(model, inputs), inputs, return_outputs=False)
            self._metrics["train"]["preference/loss"].append(loss.item())
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss.item()} at step {self.state.global_step + 1}; lower the learning rates"
            )
        kl = None
        if self.retention is not None and self.state.global_step % self.retention.every_steps == 0:
            term = self.retention.kl(model, turn=self.state.global_step // self.retention.every_steps)
            kl = term.item()
            self._metrics["train"]["retention/kl"].append(kl)
            self._last_loss = (loss.item(), kl)
            return loss + self.retention.weight * term
        self._last_loss = (loss.item(), kl)
        return loss

    def compute_ref_log_probs(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the reference log-probabilities of chosen and rejected answers, each of shape (B,), in nats."""
        scores: tuple[torch.Tensor, torch.Tensor] = super().compute_ref_log_probs(_scorer(model, inputs), inputs)
        return scores

    def report_step(self, state: TrainerState, learning_rate: float) -> None:
        """Hand on what the step that just ended has done."""
        loss, kl = self._last_loss
        planned = self.planned_steps[state.global_step - 1]
        self._on_step(StepResult(state.global_step, planned, loss, kl, learning_rate))


def _scorer(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.nn.Module | CompletionScorer:
    # With Triton, which is to say on a GPU, TRL's own fused head leaves out what is not scored.
    return model if inputs["input_ids"].is_cuda else CompletionScorer(model)


def sft_loss(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean negative log-likelihood of the completion tokens, in nats; `inputs` as `DualCollator` makes."""
    logits, targets = completion_logits(model, inputs)
    return torch.nn.functional.cross_entropy(logits.float(), targets)


class _StepEnd(TrainerCallback):
    """Tells the trainer that an optimiser step is over, before the rates move on."""

    def __init__(self, trainer: DualChannelTrainer) -> None:
        self.trainer = trainer
        self._learning_rate = 0.0

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._learning_rate = float(kwargs["optimizer"].param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.report_step(state, self._learning_rate)
