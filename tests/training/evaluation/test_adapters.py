"""Adapters are measured side by side on one base model; what is no adapter for it is named in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.evaluation.adapter_folders import adapted, adapter_folder, adapter_of_another_model
from tests.training.records import preference_record, sft_record
from training.config import TrainingConfig
from training.evaluation.adapters import AdapterEvaluation, evaluate_adapters
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.report import figures, measure
from training.trainer.adapters import ADAPTER_CONFIG, WEIGHTS, AdapterError, checksum

GIVEN = EvaluationSet(
    sft=(sft_record(1), sft_record(2)),
    preference=(preference_record(1),),
    general_text=((sft_record(3).prompt, sft_record(3).completion),),
)


@pytest.fixture
def evaluate(tiny_model_path: str, tmp_path: Path) -> Any:
    config = TrainingConfig.model_validate({"model_name_or_path": tiny_model_path, "max_length": 64})

    def evaluate(*folders: Path) -> AdapterEvaluation:
        return evaluate_adapters(config, GIVEN, folders, cache_dir=tmp_path / "models")

    return evaluate


def measured_plainly(model_path: str, *, seed: int | None, r: int = 4) -> dict[str, float | None]:
    model = AutoModelForCausalLM.from_pretrained(model_path)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    return figures(
        measure(model if seed is None else adapted(model, seed=seed, r=r), tokenizer, GIVEN, max_length=64, when="")
    )


def test_each_adapter_is_measured_as_if_it_were_alone(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    """Adapters of different rank, one after the other on the same base."""
    first = adapter_folder(tmp_path / "first", tiny_model_path, seed=1, r=4)
    second = adapter_folder(tmp_path / "second", tiny_model_path, seed=2, r=8)
    base, one, other = evaluate(first, second).figures()
    for found, (seed, r) in zip((base, one, other), ((None, 4), (1, 4), (2, 8)), strict=True):
        expected = measured_plainly(tiny_model_path, seed=seed, r=r)
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert len({found["sft_loss"] for found in (base, one, other)}) == 3


def test_drift_is_counted_from_the_base(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    base, one = evaluate(adapter_folder(tmp_path / "one", tiny_model_path)).figures()
    assert base["drift_ratio"] == base["drift_mean_ratio"] == 0
    assert one["drift_mean_ratio"] == pytest.approx(one["general_loss"] / base["general_loss"] - 1)
    assert one["drift_mean_ratio"] != 0


def test_an_adapter_in_another_precision_is_taken(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    base, one = evaluate(adapter_folder(tmp_path / "one", tiny_model_path, dtype=torch.bfloat16)).figures()
    assert base["sft_loss"] != one["sft_loss"]


def test_an_adapter_of_the_recorded_base_is_taken(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "one", tiny_model_path)
    recorded = checksum(AutoModelForCausalLM.from_pretrained(tiny_model_path).state_dict())
    (folder / "manifest.json").write_text(json.dumps({"base_checksum": recorded}), encoding="utf-8")
    assert len(evaluate(folder).adapters) == 1


def test_an_adapter_of_other_base_weights_is_refused(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "one", tiny_model_path)
    (folder / "manifest.json").write_text(json.dumps({"base_checksum": "0" * 64}), encoding="utf-8")
    with pytest.raises(AdapterError, match=r"/one was trained on other base weights \(checksum 000000000000\) than "):
        evaluate(folder)


@pytest.mark.parametrize(
    ("layers", "hidden_size", "reason"),
    [
        (2, 64, "size mismatch for base_model"),
        (3, 32, r"only one of them knows base_model\.model\.model\.layers\.2\."),
    ],
)
def test_an_adapter_of_another_architecture_is_refused_in_one_line(
    evaluate: Any, tmp_path: Path, layers: int, hidden_size: int, reason: str
) -> None:
    folder = adapter_of_another_model(tmp_path / "other", layers=layers, hidden_size=hidden_size)
    with pytest.raises(AdapterError, match=rf"^[^\n]*/other does not fit the base model: [^\n]*{reason}[^\n]*$"):
        evaluate(folder)


def test_an_adapter_that_lacks_weights_is_refused(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    """PEFT leaves the missing ones at their start, with no more than a warning."""
    folder = adapter_folder(tmp_path / "one", tiny_model_path)
    weights = load_file(folder / WEIGHTS)
    del weights[max(weights)]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(AdapterError, match=r"/one does not fit the base model: only one of them knows base_model\."):
        evaluate(folder)


def test_a_folder_without_an_adapter_is_refused(evaluate: Any, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=rf"^{tmp_path} holds no adapter: it has no adapter_config\.json$"):
        evaluate(tmp_path)


def test_weights_in_another_form_than_safetensors_are_not_read(
    evaluate: Any, tiny_model_path: str, tmp_path: Path
) -> None:
    folder = adapter_folder(tmp_path / "one", tiny_model_path)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"/one has no adapter_model\.safetensors; no other form of weights is read"):
        evaluate(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (ADAPTER_CONFIG, "{", r"adapter_config\.json is no JSON: "),
        (ADAPTER_CONFIG, "[]", r"adapter_config\.json: got list at the top, allowed an object"),
        (ADAPTER_CONFIG, '{"peft_type": "IA3"}', "got an adapter of type IA3, allowed LORA"),
        (ADAPTER_CONFIG, '{"peft_type": "LORA", "r": "many"}', "does not fit the base model: "),
        (WEIGHTS, "junk", "does not fit the base model: "),
        ("manifest.json", "{", r"manifest\.json is no JSON: "),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    evaluate: Any, tiny_model_path: str, tmp_path: Path, name: str, content: str, message: str
) -> None:
    folder = adapter_folder(tmp_path / "one", tiny_model_path)
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(AdapterError, match=rf"^[^\n]*/one[^\n]*{message}[^\n]*$"):
        evaluate(folder)


def test_measuring_writes_nothing(evaluate: Any, tiny_model_path: str, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "one", tiny_model_path)

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for root in (tmp_path, Path(tiny_model_path)) for path in root.rglob("*")}

    before = written()
    evaluate(folder, folder)
    assert written() == before


def test_texts_that_the_template_refuses_are_left_out_and_named(
    tiny_model_path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "strict"
    AutoModelForCausalLM.from_pretrained(tiny_model_path).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + tokenizer.chat_template
    )
    tokenizer.save_pretrained(folder)
    system = {"role": "system", "content": "You are plain."}
    given = replace(GIVEN, sft=(GIVEN.sft[0], replace(GIVEN.sft[1], prompt=(system, *GIVEN.sft[1].prompt))))
    config = TrainingConfig.model_validate({"model_name_or_path": str(folder), "max_length": 64})
    base = evaluate_adapters(config, given, [], cache_dir=tmp_path / "models").base
    whole = measured_plainly(tiny_model_path, seed=None)
    assert figures(base)["general_loss"] == pytest.approx(whole["general_loss"])
    assert figures(base)["sft_loss"] != pytest.approx(whole["sft_loss"])
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == [
        "left out: 1 held-out memory pairs that the base model's chat template refuses (System role not supported): 2"
    ]
