"""Rows in; ledger, run row and adapter out. A tiny real model is trained."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from memory.models import PreferencePair, SftPair
from tests.training.rows import preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.models import PairUse, TrainingRun
from training.runner import FinishedRun, execute, prepare
from training.trainer.dual import DivergedError

pytestmark = pytest.mark.django_db


def config(model_path: str, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "model_name_or_path": model_path,
            "output_dir": "lora/test",
            "sft_batch_size": 4,
            "preference_batch_size": 2,
            "min_sft_pairs": 4,
            "min_preference_pairs": 4,
            "max_steps": 10,
            "max_length": 64,
            "mixed_precision": "no",
            "evaluation": {"validation_share": 0.0},
            **changes,
        }
    )


def run(settings: TrainingConfig, artifacts: Path) -> FinishedRun:
    prepared = prepare(settings, config_path=Path("run.yaml"))
    return execute(prepared, base_dir=artifacts, artifacts_dir=artifacts)


@pytest.fixture
def pool() -> None:
    sft_pairs(10)
    preference_pairs(8)


@pytest.mark.usefixtures("pool")
def test_a_run_marks_its_pairs_and_leaves_an_adapter(tiny_model_path: str, tmp_path: Path) -> None:
    finished = run(config(tiny_model_path), tmp_path)
    assert finished.run.status == TrainingRun.Status.SUCCEEDED
    assert finished.run.steps == 10
    assert finished.run.finished_at is not None
    used = {
        "sft": set(SftPair.objects.used().values_list("pk", flat=True)),
        "preference": set(PreferencePair.objects.used().values_list("pk", flat=True)),
    }
    assert len(used["sft"]) == finished.outcome.sft.pairs_used == 10
    assert len(used["preference"]) == finished.outcome.preference.pairs_used == 8
    uses = PairUse.objects.filter(run=finished.run)
    assert set(uses.exclude(sft_pair=None).values_list("sft_pair_id", flat=True)) == used["sft"]
    assert uses.values("step").distinct().count() == 10
    manifest = json.loads((finished.adapter / "manifest.json").read_text())
    assert set(manifest["sft_pairs"]) == used["sft"]
    assert set(manifest["preference_pairs"]) == used["preference"]


@pytest.mark.usefixtures("pool")
def test_the_epoch_of_the_last_use_is_kept(tiny_model_path: str, tmp_path: Path) -> None:
    """8 preference pairs in batches of 2 are 4 steps a pass; 6 of 10 steps reach into the second pass."""
    finished = run(config(tiny_model_path), tmp_path)
    epochs = [step.planned.epoch for step in finished.outcome.steps if step.planned.channel == "preference"]
    assert epochs == [0, 0, 0, 0, 1, 1]
    assert PreferencePair.objects.filter(training_epoch=1).count() == 4
    assert PreferencePair.objects.filter(training_epoch=0).count() == 4


@pytest.mark.usefixtures("pool")
def test_the_adapter_loads_in_plain_peft_and_merges(tiny_model_path: str, tmp_path: Path) -> None:
    finished = run(config(tiny_model_path), tmp_path)
    weights = load_file(finished.adapter / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    merged = PeftModel.from_pretrained(base, finished.adapter).merge_and_unload()
    assert merged.num_parameters() == AutoModelForCausalLM.from_pretrained(tiny_model_path).num_parameters()
    assert not list(finished.adapter.glob("*.bin"))


@pytest.mark.usefixtures("pool")
def test_the_first_run_of_a_new_database_spares_the_folders_of_an_old_one(tiny_model_path: str, tmp_path: Path) -> None:
    first = run(config(tiny_model_path), tmp_path)
    TrainingRun.objects.all().delete()
    time.sleep(1.1)  # folders are told apart by the second
    second = run(
        config(tiny_model_path, sft_filters={"unused_only": False}, preference_filters={"unused_only": False}), tmp_path
    )
    assert first.adapter.is_dir()
    assert second.adapter.is_dir()
    assert first.adapter != second.adapter


@pytest.mark.usefixtures("pool")
def test_a_second_run_finds_nothing_unused(tiny_model_path: str, tmp_path: Path) -> None:
    run(config(tiny_model_path), tmp_path)
    with pytest.raises(ValueError, match="the memory channel has 0 pairs to train"):
        run(config(tiny_model_path), tmp_path)


@pytest.mark.usefixtures("pool")
def test_a_run_that_fails_says_why_and_frees_its_pairs(tiny_model_path: str, tmp_path: Path) -> None:
    diverging = config(tiny_model_path, sft_learning_rate=1e30, preference_learning_rate=1e30, warmup_steps=0)
    with pytest.raises(DivergedError):
        run(diverging, tmp_path)
    failed = TrainingRun.objects.get()
    assert failed.status == TrainingRun.Status.FAILED
    assert failed.error.startswith("the loss became ")
    assert failed.exception_class == "training.trainer.dual.DivergedError"
    assert "Traceback" in failed.traceback
    assert failed.uses.count() > 0
    assert SftPair.objects.used().count() == PreferencePair.objects.used().count() == 0
    assert not (tmp_path / "lora" / "test").exists()


@pytest.mark.usefixtures("pool")
def test_a_named_file_that_is_missing_is_one_clear_line(tiny_model_path: str, tmp_path: Path) -> None:
    missing = config(tiny_model_path, retention={"path": "none.json"})
    with pytest.raises(ValueError, match=r"^none\.json: no list 'retention' of prompt and completion can be read"):
        run(missing, tmp_path)
    assert not TrainingRun.objects.exists()
