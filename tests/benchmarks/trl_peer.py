"""TRL's own trainers on the tokens that ours trains on: the peer of the training benchmarks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from training.config import TrainingConfig
from training.trainer.adapters import lora_config
from training.trainer.batches import Example


@dataclass(frozen=True)
class PeerRun:
    """What SFT and then DPO took, in seconds, and their losses step by step."""

    model: PeftModel
    sft_seconds: float
    dpo_seconds: float
    sft_losses: list[float]
    dpo_losses: list[float]


class TokenisedDPOTrainer(DPOTrainer):
    """TRL's trainer on pairs that are tokenised already."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def sft_then_dpo(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    *,
    sft: Sequence[Example],
    preference: Sequence[Example],
    folder: Path,
    best: bool,
) -> PeerRun:
    """Run TRL's SFTTrainer, then its DPOTrainer on the adapter that it left; both take the examples in order.

    `best` computes reference log-probabilities once and keeps all activations; without it TRL's defaults stand.
    """
    shared = {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": config.warmup_steps,
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "seed": config.seed,
        # bfloat16 is TRL's default, which it refuses without a GPU unless told so.
        "use_cpu": not torch.accelerator.is_available(),
        **({"activation_checkpointing": False, "gradient_checkpointing": False} if best else {}),
    }
    started = time.perf_counter()
    sft_trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            per_device_train_batch_size=config.sft_batch_size,
            learning_rate=config.sft_learning_rate,
            completion_only_loss=True,
            **shared,
        ),
        train_dataset=Dataset.from_list([_sft_row(example) for example in sft]),
        processing_class=tokenizer,
        peft_config=lora_config(config),
    )
    # Standard output belongs to the benchmark's own figures.
    sft_trainer.remove_callback(PrinterCallback)
    sft_trainer.train()
    between = time.perf_counter()
    dpo_trainer = TokenisedDPOTrainer(
        model=sft_trainer.model,
        args=DPOConfig(
            per_device_train_batch_size=config.preference_batch_size,
            learning_rate=config.preference_learning_rate,
            beta=config.beta,
            precompute_ref_log_probs=best,
            **shared,
        ),
        train_dataset=Dataset.from_list([_preference_row(example) for example in preference]),
        processing_class=tokenizer,
    )
    dpo_trainer.remove_callback(PrinterCallback)
    dpo_trainer.train()
    ended = time.perf_counter()
    return PeerRun(
        model=dpo_trainer.accelerator.unwrap_model(dpo_trainer.model, keep_fp32_wrapper=False),
        sft_seconds=between - started,
        dpo_seconds=ended - between,
        sft_losses=_losses(sft_trainer),
        dpo_losses=_losses(dpo_trainer),
    )


def _sft_row(example: Example) -> dict[str, list[int]]:
    (sequence,) = example.sequences
    completion = len(sequence.ids) - sequence.start
    return {"input_ids": list(sequence.ids), "completion_mask": [0] * sequence.start + [1] * completion}


def _preference_row(example: Example) -> dict[str, list[int]]:
    chosen, rejected = example.sequences
    return {
        "prompt_ids": list(chosen.ids[: chosen.start]),
        "chosen_ids": list(chosen.ids[chosen.start :]),
        "rejected_ids": list(rejected.ids[rejected.start :]),
    }


def _losses(trainer: SFTTrainer | DPOTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
