"""A training config in the words of TRL's DPOConfig."""

from pathlib import Path

import torch
from trl import DPOConfig

from training.config.schema import TrainingConfig
from training.trainer.precision import computes_in_bfloat16


def dpo_arguments(config: TrainingConfig, *, work_dir: Path, steps: int) -> DPOConfig:
    """Return TRL's arguments of a run of `steps` optimiser steps that keeps its checkpoints in `work_dir`."""
    return DPOConfig(
        output_dir=str(work_dir),
        max_steps=steps,
        per_device_train_batch_size=config.preference_batch_size,
        learning_rate=max(config.sft_learning_rate, config.preference_learning_rate),
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        loss_type=[config.loss_type],
        label_smoothing=config.label_smoothing,
        beta=config.beta,
        max_length=config.max_length,
        # TRL's default would make nothing of `lora_dropout`.
        disable_dropout=config.lora.lora_dropout == 0,
        # A mixture-of-experts model's router is not trained.
        router_aux_loss_coef=0.0,
        activation_checkpointing=config.gradient_checkpointing,
        remove_unused_columns=False,
        seed=config.seed,
        use_cpu=not torch.accelerator.is_available(),
        bf16=computes_in_bfloat16(config.mixed_precision),
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=config.logging_steps,
        # One loss that is no number must stop the run, not be left out of a mean.
        logging_nan_inf_filter=False,
        report_to=config.report_to,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
