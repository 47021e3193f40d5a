"""With one channel off, the trainer is TRL's trainer of the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from tests.training.trainer.runs import PREFERENCE, SFT, config, in_order, run
from training.config import TrainingConfig
from training.config.schema import LossType
from training.trainer.adapters import lora_config

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

# One of each kind: by the pair, with a margin, with smoothing, over the batch. The slow tests compare the others.
OFTEN = {"sigmoid", "ipo", "robust", "aot"}


def trl_arguments(settings: TrainingConfig, tmp_path: Path, *, steps: int) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path),
        "max_steps": steps,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": False,
        "activation_checkpointing": False,
        "max_length": 64,
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "seed": settings.seed,
    }


def logged(trainer: DPOTrainer | SFTTrainer, name: str = "loss") -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def chats(records: Sequence[Any], *names: str) -> Dataset:
    return Dataset.from_list([{name: list(getattr(record, name)) for name in names} for record in records])


def trl_dpo(model_path: str, settings: TrainingConfig, tmp_path: Path, *, steps: int) -> DPOTrainer:
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32),
        args=DPOConfig(
            **trl_arguments(settings, tmp_path, steps=steps),
            loss_type=[settings.loss_type],
            label_smoothing=settings.label_smoothing,
        ),
        train_dataset=chats(PREFERENCE, "prompt", "chosen", "rejected"),
        processing_class=AutoTokenizer.from_pretrained(model_path),
        peft_config=lora_config(settings),
    )
    trainer.train()
    return trainer


def test_the_first_preference_loss_is_ln_2(tiny_model_path: str, tmp_path: Path) -> None:
    """The policy still is its own reference, so that the loss is -log sigmoid(0)."""
    trained = run(config(tiny_model_path), tmp_path, plan=in_order("preference", steps=1))
    assert trained.losses("preference")[0] == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.parametrize(
    "loss_type",
    [each if each in OFTEN else pytest.param(each, marks=pytest.mark.slow) for each in get_args(LossType)],
)
def test_preference_alone_has_the_losses_of_trls_dpo_trainer(
    loss_type: str, tiny_model_path: str, tmp_path: Path
) -> None:
    smoothing = 0.1 if loss_type in {"robust", "exo_pair"} else 0.0
    settings = config(tiny_model_path, loss_type=loss_type, label_smoothing=smoothing)
    ours = run(settings, tmp_path / "ours", plan=in_order("preference", steps=6))
    reference = trl_dpo(tiny_model_path, settings, tmp_path / "trl", steps=6)
    losses = logged(reference)
    assert len(losses) == 6
    assert abs(losses[-1] - losses[0]) > 1e-3
    assert ours.losses("preference") == pytest.approx(losses, abs=1e-4)


@pytest.mark.parametrize(
    "metric", ["rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected", "entropy", "logits/chosen"]
)
def test_the_metrics_are_trls(metric: str, tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path)
    ours = run(settings, tmp_path / "ours", plan=in_order("preference", steps=4))
    reference = trl_dpo(tiny_model_path, settings, tmp_path / "trl", steps=4)
    expected = logged(reference, metric)
    assert len(expected) == 4
    # TRL's log rounds nothing; the first step's rewards are rounding errors around 0, of either sign.
    assert ours.metric(f"preference/{metric}")[1:] == pytest.approx(expected[1:], abs=1e-3)


def test_memory_alone_has_the_losses_of_trls_sft_trainer(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path)
    ours = run(settings, tmp_path / "ours", plan=in_order("sft", steps=6))
    reference = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32),
        args=SFTConfig(**trl_arguments(settings, tmp_path / "trl", steps=6), completion_only_loss=True),
        train_dataset=chats(SFT, "prompt", "completion"),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_path),
        peft_config=lora_config(settings),
    )
    reference.train()
    losses = logged(reference)
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.1
    assert ours.losses("sft") == pytest.approx(losses, abs=1e-4)
