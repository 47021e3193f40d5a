"""One training run from records to an adapter in memory."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging
from trl import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference

from training.config.schema import TrainingConfig
from training.datasets import Chat, PreferenceRecord, SftRecord
from training.evaluation.report import EvaluationSet, Measurement, comparison, measure
from training.sampling.plan import Channel, RunPlan
from training.trainer.base_model import load_base_model, lora_config
from training.trainer.batches import DualCollator, preference_examples, sft_examples
from training.trainer.dual import DualChannelTrainer, StepResult
from training.trainer.precision import computes_in_bfloat16
from training.trainer.retention import Retention
from training.trainer.tokenization import Tokenization


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything that a run reads: the pools, what it is measured on, the texts it is held to its base on."""

    sft: tuple[SftRecord, ...]
    preference: tuple[PreferenceRecord, ...]
    evaluation: EvaluationSet = field(default_factory=EvaluationSet)
    retention: tuple[tuple[Chat, Chat], ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelOutcome:
    """The course of one channel; losses in nats, None where it had no batch."""

    loss_first: float | None
    loss_last: float | None
    batches: int
    pairs_used: int


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a run came to."""

    steps: tuple[StepResult, ...]
    sft: ChannelOutcome
    preference: ChannelOutcome
    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    before: Measurement
    after: Measurement
    tokens_per_second: float
    seconds: float

    @property
    def evaluation(self) -> dict[str, Any]:
        """Before and after, as plain numbers."""
        return comparison(self.before, self.after)


def train(
    config: TrainingConfig,
    data: TrainingData,
    plan: RunPlan,
    *,
    work_dir: Path,
    cache_dir: Path,
    on_step: Callable[[StepResult], None],
) -> TrainingOutcome:
    """Train one adapter on both channels, measured before and after; `on_step` hears of every step as it ends.

    Raises:
        BaseModelError: the base model cannot be loaded.
        DivergedError: the loss became NaN or infinite.

    """
    started = time.monotonic()
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    # PEFT and TRL still ask a transformers property by the name it had before.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    model, tokenizer = load_base_model(config, cache_dir=cache_dir)
    before = measure(model, tokenizer, data.evaluation, max_length=config.max_length, when="before")
    results: list[StepResult] = []
    with tqdm(total=len(plan.steps), desc="training", unit="step", disable=None) as bar:

        def step_ended(result: StepResult) -> None:
            results.append(result)
            on_step(result)
            bar.set_postfix_str(f"{result.planned.channel} loss {result.loss:.3f}", refresh=False)
            bar.update()

        trainer = _trainer(config, data, plan, model, tokenizer, work_dir=work_dir, on_step=step_ended)
        training_started = time.monotonic()
        trainer.train()
        training_seconds = time.monotonic() - training_started
    # Without Accelerate's wrapper, so that both measurements are made in the precision of the weights.
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    after = measure(trained, tokenizer, data.evaluation, max_length=config.max_length, when="after")
    return TrainingOutcome(
        steps=tuple(results),
        sft=_channel_outcome(results, "sft"),
        preference=_channel_outcome(results, "preference"),
        model=trained,
        tokenizer=tokenizer,
        before=before,
        after=after,
        tokens_per_second=trainer.tokens_seen / training_seconds,
        seconds=time.monotonic() - started,
    )


def _trainer(
    config: TrainingConfig,
    data: TrainingData,
    plan: RunPlan,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    work_dir: Path,
    on_step: Callable[[StepResult], None],
) -> DualChannelTrainer:
    tokenization = Tokenization(tokenizer, max_length=config.max_length)
    rates = {"sft": config.sft_learning_rate, "preference": config.preference_learning_rate}
    args = DPOConfig(
        output_dir=str(work_dir),
        max_steps=len(plan.steps),
        per_device_train_batch_size=config.preference_batch_size,
        learning_rate=max(rates.values()),
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        loss_type=[config.loss_type],
        label_smoothing=config.label_smoothing,
        beta=config.beta,
        max_length=config.max_length,
        precompute_ref_log_probs=True,
        activation_checkpointing=False,
        remove_unused_columns=False,
        seed=config.seed,
        use_cpu=not torch.accelerator.is_available(),
        bf16=computes_in_bfloat16(config.mixed_precision),
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return DualChannelTrainer(
        model,
        args,
        tokenizer,
        lora_config(config),
        sft=sft_examples(data.sft, tokenization),
        preference=preference_examples(data.preference, tokenization),
        steps=plan.steps,
        learning_rates=rates,
        retention=_retention(config, data.retention, tokenization),
        on_step=on_step,
    )


def _retention(
    config: TrainingConfig, chats: Sequence[tuple[Chat, Chat]], tokenization: Tokenization
) -> Retention | None:
    if not chats or config.retention.weight == 0:
        return None
    examples = []
    for prompt, completion in chats:
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(prompt, [completion])
        examples.append({"prompt_ids": prompt_ids, "completion_ids": completion_ids})
    pad_token_id = tokenization.tokenizer.pad_token_id
    return Retention(
        examples,
        DualCollator(DataCollatorForPreference(pad_token_id), pad_token_id),
        weight=config.retention.weight,
        every_steps=config.retention.every_steps,
        batch_size=config.retention.batch_size,
    )


def _channel_outcome(results: Sequence[StepResult], channel: Channel) -> ChannelOutcome:
    own = [result for result in results if result.planned.channel == channel]
    return ChannelOutcome(
        loss_first=own[0].loss if own else None,
        loss_last=own[-1].loss if own else None,
        batches=len(own),
        pairs_used=len({index for result in own for index in result.planned.indices}),
    )
