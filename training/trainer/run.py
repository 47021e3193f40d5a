"""One training run from records to an adapter in memory."""

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftModel, get_peft_model_state_dict
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from training.config.schema import WHOLE_BATCH_LOSSES, TrainingConfig
from training.datasets import Chat, PreferenceRecord, SftRecord
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.progress import held_out_progress, progress_at
from training.evaluation.report import Measurement, comparison, measure
from training.sampling.plan import Channel, RunPlan
from training.sampling.schedule import CHANNEL_NAMES
from training.sampling.steps import drawn
from training.trainer.adapters import StartingPoint, checksum, start_adapter
from training.trainer.arguments import dpo_arguments
from training.trainer.base_model import load_base_model
from training.trainer.batches import Batching, preference_examples, retention_examples, sft_examples
from training.trainer.channel_weights import ChannelWeights
from training.trainer.checkpoints import last_checkpoint
from training.trainer.course import Course, StepResult
from training.trainer.dual import DualChannelTrainer
from training.trainer.lora_linear import unfuse_lora
from training.trainer.pair_changes import PairChange, pair_changes
from training.trainer.plateau import Plateaus
from training.trainer.processes import from_main_process, is_main_process
from training.trainer.reference_pass import fill_references
from training.trainer.renderable import renderable_chats, renderable_evaluation
from training.trainer.retention import Retention
from training.trainer.shared_rows import why_not_shared
from training.trainer.stopping import Interrupted, stops_on_signals
from training.trainer.tokenization import Tokenization
from training.trainer.tree_attention import use_tree_attention

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunFolders:
    """Where a run works: checkpoints in `work`, unpacked base models, stored reference log-probabilities."""

    work: Path
    models: Path
    references: Path


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything that a run reads: the pools, what it is measured on, the texts it is held to its reference on."""

    sft: tuple[SftRecord, ...]
    preference: tuple[PreferenceRecord, ...]
    evaluation: EvaluationSet = field(default_factory=EvaluationSet)
    retention: tuple[tuple[Chat, Chat], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a run came to; `steps` are those of this process alone, after a resume the ones since the checkpoint.

    `own_rows` says why answers to one prompt did not share its row; None where they did. `stopped` has the channels
    that no longer improved, each with the step at which that was found. `tokens_per_second` is None where this process
    took no step.
    """

    steps: tuple[StepResult, ...]
    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    before: Measurement
    after: Measurement
    changes: tuple[PairChange, ...]
    base_checksum: str
    init_checksum: str | None
    adapter_checksum: str
    device: str
    precision: str
    own_rows: str | None
    stopped: Mapping[Channel, int]
    stopped_early: str | None
    tokens_per_second: float | None
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
    folders: RunFolders,
    adapter: Path | None,
    resume: Path | None,
    on_step: Callable[[StepResult], None],
) -> TrainingOutcome:
    """Train one adapter on both channels, measured before and after; `on_step` hears of every step as it ends.

    It starts from `adapter`, or from a fresh one; `resume` is the checkpoint of an earlier process to go on from.

    Raises:
        BaseModelError: the base model cannot be loaded.
        AdapterError: the adapter or the checkpoint is not what it says it is.
        DivergedError: the loss became NaN or infinite.
        Interrupted: a signal asked the run to stop; its last step is in a checkpoint.

    """
    started = time.monotonic()
    _quieten()
    base, tokenizer = load_base_model(config, cache_dir=folders.models)
    start = start_adapter(base, config, adapter=adapter)
    data = replace(
        data,
        evaluation=renderable_evaluation(data.evaluation, tokenizer),
        retention=renderable_chats(data.retention, tokenizer, kind="texts of the retention"),
    )

    def measured(model: Any, when: str) -> Measurement:
        return measure(model, tokenizer, data.evaluation, max_length=config.max_length, when=when)

    before = from_main_process(measured(start.model, "before") if is_main_process() else None)
    batching, own_rows = from_main_process(_batching(config, base, tokenizer.pad_token_id))
    if own_rows is not None:
        logger.warning("answers to one prompt do not share its row, which costs time: %s", own_rows)
    results: list[StepResult] = []
    with tqdm(total=len(plan.steps), desc="training", unit="step", disable=None) as bar:

        def step_ended(result: StepResult) -> None:
            results.append(result)
            on_step(result)
            losses = [f"{channel} {result.loss(channel):.3f}" for channel in result.trained]
            bar.set_postfix_str(", ".join(losses), refresh=False)
            bar.update(result.step - bar.n)

        trainer = _trainer(config, data, plan, start, tokenizer, batching, folders=folders, on_step=step_ended)
        for channel, value in progress_at(before).items():
            trainer.course.plateaus.observe(channel, value)
        training_started = time.monotonic()
        with stops_on_signals(trainer):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        training_seconds = time.monotonic() - training_started
    if trainer.stop_requested and trainer.state.global_step < len(plan.steps):
        raise Interrupted(trainer.state.global_step, last_checkpoint(folders.work))
    changes = pair_changes(trainer)
    # Without Accelerate's wrapper, so that both measurements are made in the precision of the weights.
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    unfuse_lora(trained)
    after = from_main_process(measured(trained, "after") if is_main_process() else None)
    return TrainingOutcome(
        steps=tuple(results),
        model=trained,
        tokenizer=tokenizer,
        before=before,
        after=after,
        changes=changes,
        base_checksum=start.base_checksum,
        init_checksum=start.adapter_checksum,
        adapter_checksum=checksum(get_peft_model_state_dict(trained, adapter_name="default")),
        device=str(trainer.accelerator.device),
        precision=str(trainer.accelerator.mixed_precision),
        own_rows=own_rows,
        stopped=trainer.stopped,
        stopped_early=_stopped_early(trainer, len(plan.steps)),
        tokens_per_second=trainer.tokens_seen / training_seconds if results else None,
        seconds=time.monotonic() - started,
    )


def _trainer(
    config: TrainingConfig,
    data: TrainingData,
    plan: RunPlan,
    start: StartingPoint,
    tokenizer: PreTrainedTokenizerBase,
    batching: Batching,
    *,
    folders: RunFolders,
    on_step: Callable[[StepResult], None],
) -> DualChannelTrainer:
    tokenization = Tokenization(tokenizer, max_length=config.max_length)
    course = Course(
        # Of a long memory a run draws a part, and only that is worth its tokens.
        sft=sft_examples(data.sft, tokenization, drawn=set(drawn(plan.steps, "sft"))),
        preference=preference_examples(data.preference, tokenization, drawn=set(drawn(plan.steps, "preference"))),
        steps=plan.steps,
        rates={"sft": config.sft_learning_rate, "preference": config.preference_learning_rate},
        shares={"sft": config.sft_weight, "preference": config.preference_weight},
        weights=ChannelWeights(config),
        plateaus=Plateaus(config.early_stopping),
        parts=config.gradient_accumulation_steps,
        retention=_retention(config, data.retention, tokenization, batching),
        statistics=plan.statistics,
    )

    def progress() -> Mapping[Channel, float | None]:
        if not is_main_process():
            return from_main_process(None)
        model = trainer.accelerator.unwrap_model(trainer.model)
        with trainer.accelerator.autocast():
            found = held_out_progress(model, tokenizer, data.evaluation, max_length=config.max_length)
        return from_main_process(found)

    args = dpo_arguments(config, work_dir=folders.work, steps=len(plan.steps))
    trainer = DualChannelTrainer(start, args, tokenizer, course, batching, on_step=on_step, measure=progress)
    fill_references(trainer, start, folders.references)
    return trainer


def _batching(config: TrainingConfig, base: PreTrainedModel, pad_token_id: int) -> tuple[Batching, str | None]:
    """Return how pairs become batches, and why sequences that begin alike do not share a row; None where they do."""
    shared = Batching(
        pad_token_id,
        in_blocks=config.attn_implementation == "sdpa" and not torch.accelerator.is_available(),
        whole=config.loss_type in WHOLE_BATCH_LOSSES,
        additive_mask=config.attn_implementation == "eager",
    )
    apart = replace(shared, shares_prefixes=False, in_blocks=False)
    window = getattr(base.config.get_text_config(), "sliding_window", None)
    if config.attn_implementation == "flash_attention_2":
        return apart, "flash_attention_2 takes no mask"
    if window is not None and config.max_length > window:
        # A window counts columns, which in a packed row are not positions.
        return apart, f"max_length {config.max_length} is over the model's window of {window} tokens"
    if shared.in_blocks:
        use_tree_attention(base)
    reason = why_not_shared(base, shared)
    if reason is None:
        return shared, None
    base.set_attn_implementation(config.attn_implementation)
    return apart, reason


def _retention(
    config: TrainingConfig, chats: Sequence[tuple[Chat, Chat]], tokenization: Tokenization, batching: Batching
) -> Retention | None:
    if not chats or config.retention.weight == 0:
        return None
    return Retention(
        retention_examples(chats, tokenization),
        batching,
        weight=config.retention.weight,
        every_steps=config.retention.every_steps,
        batch_size=config.retention.batch_size,
    )


def _stopped_early(trainer: DualChannelTrainer, planned: int) -> str | None:
    done = trainer.state.global_step
    if done == planned:
        return None
    found = ", ".join(f"{CHANNEL_NAMES[channel]} at step {step}" for channel, step in sorted(trainer.stopped.items()))
    return f"after {done} of {planned} steps the held-out measurements no longer improved ({found})"


def _quieten() -> None:
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    # PEFT and TRL still ask a transformers property by the name it had before.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
