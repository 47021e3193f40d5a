"""What a run will need, from files alone."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.training.records import preference_record, sft_record
from tests.training.runs import CONFIG_PATH, config
from training.estimate import BYTES_PER_TRAINED_PARAMETER, estimate_memory, planned_characters
from training.run_state import PreparedRun
from training.sampling.plan import PlannedBatch, PlannedStep, PoolSampling, RunPlan
from training.selection import Pool

SFT = (sft_record(0, question="q" * 40, answer="a" * 40), sft_record(1, question="q" * 8, answer="a" * 8))
PREFERENCE = (preference_record(0, chosen="c" * 100, rejected="r" * 300),)


def prepared(model_path: str, *, adapter: Path | None = None, **changes: object) -> PreparedRun:
    steps = (
        PlannedStep((PlannedBatch("sft", (0, 1), 0),)),
        PlannedStep((PlannedBatch("preference", (0,), 0), PlannedBatch("sft", (0,), 1))),
    )
    plan = RunPlan(steps, PoolSampling(np.ones(2)), PoolSampling(np.ones(1)))
    return PreparedRun(
        config(model_path, **changes), CONFIG_PATH, adapter, Pool(SFT, ()), Pool(PREFERENCE, ()), (), plan
    )


def estimated(run: PreparedRun, tmp_path: Path) -> int:
    memory = estimate_memory(run, models_dir=tmp_path)
    assert memory.total_bytes is not None
    return memory.total_bytes


# PEFT still asks for a property by the name it had before.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_weights_and_the_adapter_are_counted_as_they_are(tiny_model_path: str, tmp_path: Path) -> None:
    """What rank 17 needs over rank 16 is a sixteenth of what PEFT makes at rank 16."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    weights = 4 * model.num_parameters()
    peft_model = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(parameter.numel() for parameter in peft_model.parameters() if parameter.requires_grad)
    low, high = (estimated(prepared(tiny_model_path, lora={"r": r}), tmp_path) for r in (16, 17))
    assert (high - low) * 16 == trained * BYTES_PER_TRAINED_PARAMETER
    assert low > weights + trained * BYTES_PER_TRAINED_PARAMETER


def test_each_saving_saves(tiny_model_path: str, tmp_path: Path) -> None:
    plain = estimated(prepared(tiny_model_path), tmp_path)
    assert estimated(prepared(tiny_model_path, dtype="bfloat16"), tmp_path) < plain
    assert estimated(prepared(tiny_model_path, gradient_checkpointing=True), tmp_path) < plain
    assert estimated(prepared(tiny_model_path, gradient_accumulation_steps=2), tmp_path) < plain
    assert estimated(prepared(tiny_model_path, max_length=16), tmp_path) < plain
    assert estimated(prepared(tiny_model_path, lora={"target_modules": ["q_proj"]}), tmp_path) < plain
    assert estimated(prepared(tiny_model_path, adapter=tmp_path), tmp_path) > plain


def test_both_batches_of_a_mixed_step_are_in_memory_at_once(tiny_model_path: str, tmp_path: Path) -> None:
    mixed = prepared(tiny_model_path).plan.steps[1]

    def of_step(*batches: PlannedBatch) -> int:
        run = prepared(tiny_model_path)
        return estimated(replace(run, plan=replace(run.plan, steps=(PlannedStep(batches),))), tmp_path)

    without = of_step()
    apart = sum(of_step(batch) - without for batch in mixed.batches)
    assert of_step(*mixed.batches) - without == pytest.approx(apart, abs=2)


def test_weights_that_are_converted_have_a_copy(tiny_model_path: str, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    plain = estimated(prepared(tiny_model_path), tmp_path)
    for mixed_precision in ("auto", "bf16"):
        assert estimated(prepared(tiny_model_path, mixed_precision=mixed_precision), tmp_path) == plain + 2 * linear
    narrow = {
        estimated(prepared(tiny_model_path, dtype="bfloat16", mixed_precision=mixed_precision), tmp_path)
        for mixed_precision in ("no", "bf16")
    }
    assert len(narrow) == 1


def test_quantised_weights_take_four_bits_and_their_constants(tiny_model_path: str, tmp_path: Path) -> None:
    """Embeddings and head keep their dtype."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    linear = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name != "lm_head"
    )
    for targets in ("all-linear", ["q_proj"]):
        plain, quantised = (
            estimated(
                prepared(
                    tiny_model_path, dtype="bfloat16", quantization=quantization, lora={"target_modules": targets}
                ),
                tmp_path,
            )
            for quantization in ("none", "4bit")
        )
        assert plain - quantised == pytest.approx(linear * (2 - 4.127 / 8), abs=1)


def test_a_model_that_is_not_here_has_no_estimate(tmp_path: Path) -> None:
    memory = estimate_memory(prepared("someone/some-model"), models_dir=tmp_path)
    assert memory.total_bytes is None
    assert memory.reason == "the files of someone/some-model are not on this machine yet"


def with_settings(model_path: str, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """Copy the model, with another config.json; return its folder."""
    shutil.copytree(model_path, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return str(folder)


def test_a_model_of_text_and_images_nests_its_sizes(tiny_model_path: str, tmp_path: Path) -> None:
    nested = with_settings(tiny_model_path, tmp_path / "nested", lambda settings: {"text_config": settings})
    assert estimated(prepared(nested), tmp_path) == estimated(prepared(tiny_model_path), tmp_path)


def test_a_model_that_does_not_say_its_sizes_has_no_estimate(tiny_model_path: str, tmp_path: Path) -> None:
    folder = with_settings(
        tiny_model_path, tmp_path / "other", lambda settings: {**settings, "text_config": {"hidden_size": 32}}
    )
    memory = estimate_memory(prepared(folder), models_dir=tmp_path)
    assert memory.total_bytes is None
    assert memory.reason == f"{folder}/config.json does not say num_hidden_layers, vocab_size"


def test_a_prompt_counts_once_for_both_of_its_answers(tiny_model_path: str) -> None:
    question = len("question 0")
    assert planned_characters(prepared(tiny_model_path)) == (80 + 16) + (question + 100 + 300) + 80


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_a_folder_without_the_files_has_no_estimate(tiny_model_path: str, tmp_path: Path, missing: str) -> None:
    for path in Path(tiny_model_path).iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert estimate_memory(prepared(str(tmp_path)), models_dir=tmp_path).total_bytes is None
