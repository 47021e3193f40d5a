"""A run that goes on from an earlier adapter."""

import json
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.training.trainer.runs import Trained, config, in_order, run
from training.trainer.adapters import ADAPTER_CONFIG, WEIGHTS, AdapterError, checksum


@pytest.fixture
def first(tiny_model_path: str, tmp_path: Path) -> Trained:
    """A run of both channels whose adapter is saved as `adapter`."""
    trained = run(config(tiny_model_path), tmp_path / "first", plan=in_order("sft", "preference", steps=4))
    trained.outcome.model.save_pretrained(tmp_path / "adapter", selected_adapters=["default"])
    return trained


def test_the_saved_adapter_is_the_one_that_was_trained(first: Trained, tmp_path: Path) -> None:
    assert checksum(load_file(tmp_path / "adapter" / WEIGHTS)) == first.outcome.adapter_checksum


def test_the_adapter_loads_in_plain_peft_and_merges(first: Trained, tiny_model_path: str, tmp_path: Path) -> None:
    ids = torch.arange(10, 22).reshape(2, 6)
    with torch.no_grad():
        expected = first.outcome.model.eval()(input_ids=ids).logits
        loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
        torch.testing.assert_close(loaded(input_ids=ids).logits, expected)
        merged = loaded.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, atol=1e-5, rtol=1e-5)
        base = AutoModelForCausalLM.from_pretrained(tiny_model_path)
        assert (base(input_ids=ids).logits - expected).abs().max() > 1e-3


@pytest.mark.usefixtures("first")
def test_the_first_preference_loss_of_a_continued_adapter_is_ln_2(tiny_model_path: str, tmp_path: Path) -> None:
    """Its reference is a frozen copy of what came in; the base would give another loss."""
    trained = run(
        config(tiny_model_path),
        tmp_path / "second",
        plan=in_order("preference", steps=3),
        adapter=tmp_path / "adapter",
    )
    losses = trained.losses("preference")
    assert losses[0] == pytest.approx(0.693147, abs=1e-5)
    assert losses[-1] < 0.68


def test_a_continued_adapter_goes_on_from_its_weights(first: Trained, tiny_model_path: str, tmp_path: Path) -> None:
    still = config(tiny_model_path, sft_learning_rate=1e-12, preference_learning_rate=1e-12)
    trained = run(still, tmp_path / "second", plan=in_order("sft", steps=1), adapter=tmp_path / "adapter")
    assert trained.outcome.init_checksum == first.outcome.adapter_checksum
    after = {change.index: change.after for change in trained.outcome.changes}
    expected = {c.index: c.after for c in first.outcome.changes if c.channel == "sft"}
    assert after == pytest.approx({index: expected[index] for index in after}, abs=1e-4)


@pytest.mark.usefixtures("first")
def test_only_the_trained_adapter_is_saved_not_its_reference(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(
        config(tiny_model_path), tmp_path / "second", plan=in_order("sft", steps=2), adapter=tmp_path / "adapter"
    )
    trained.outcome.model.save_pretrained(tmp_path / "again", selected_adapters=["default"])
    assert not (tmp_path / "again" / "ref").exists()
    assert checksum(load_file(tmp_path / "again" / WEIGHTS)) == trained.outcome.adapter_checksum


@pytest.mark.usefixtures("first")
def test_an_adapter_of_another_rank_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"adapter has r 16, the config says 8; they must agree$"):
        run(config(tiny_model_path, lora={"r": 8}), tmp_path, adapter=tmp_path / "adapter")


@pytest.mark.usefixtures("first")
def test_a_continued_adapter_keeps_its_layers_and_its_dropout_unless_there_is_to_be_none(
    tiny_model_path: str, tmp_path: Path
) -> None:
    adapter, plan = tmp_path / "adapter", in_order("sft", steps=1)
    plain = run(config(tiny_model_path), tmp_path / "plain", plan=plan, adapter=adapter)
    settings = json.loads((adapter / ADAPTER_CONFIG).read_text())
    (adapter / ADAPTER_CONFIG).write_text(json.dumps({**settings, "lora_dropout": 0.5}))
    none = run(config(tiny_model_path), tmp_path / "none", plan=plan, adapter=adapter)
    assert none.losses("sft") == pytest.approx(plain.losses("sft"), abs=1e-6)
    other = config(tiny_model_path, lora={"lora_dropout": 0.1, "target_modules": ["q_proj"]})
    dropped = run(other, tmp_path / "dropped", plan=plan, adapter=adapter).outcome.model
    assert dropped.peft_config["default"].lora_dropout == 0.5
    assert sum("lora_B.default" in name for name, _ in dropped.named_parameters()) == 14


def test_a_folder_without_an_adapter_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"^init_adapter: .*none holds no adapter \(adapter_config.json: "):
        run(config(tiny_model_path), tmp_path, adapter=tmp_path / "none")


def test_an_adapter_that_was_changed_since_is_refused(first: Trained, tiny_model_path: str, tmp_path: Path) -> None:
    manifest = {"adapter_checksum": first.outcome.adapter_checksum, "base_checksum": first.outcome.base_checksum}
    (tmp_path / "adapter" / "manifest.json").write_text(json.dumps(manifest))
    weights = load_file(tmp_path / "adapter" / WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, tmp_path / "adapter" / WEIGHTS)
    with pytest.raises(AdapterError, match="was changed since its run wrote it"):
        run(config(tiny_model_path), tmp_path, adapter=tmp_path / "adapter")


def test_an_adapter_of_another_base_is_refused(first: Trained, tiny_model_path: str, tmp_path: Path) -> None:
    manifest = {"adapter_checksum": first.outcome.adapter_checksum, "base_checksum": "0" * 64}
    (tmp_path / "adapter" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AdapterError, match=r"was trained on other base weights \(checksum 000000000000\)"):
        run(config(tiny_model_path), tmp_path, adapter=tmp_path / "adapter")


@pytest.mark.usefixtures("first")
def test_an_adapter_with_weights_missing_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    weights = load_file(tmp_path / "adapter" / WEIGHTS)
    weights.pop(next(iter(weights)))
    save_file(weights, tmp_path / "adapter" / WEIGHTS)
    with pytest.raises(AdapterError, match="the adapter in memory is not the one in the file"):
        run(config(tiny_model_path), tmp_path, adapter=tmp_path / "adapter")


@pytest.mark.usefixtures("first")
def test_an_adapter_in_half_precision_is_widened(tiny_model_path: str, tmp_path: Path) -> None:
    weights = load_file(tmp_path / "adapter" / WEIGHTS)
    save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, tmp_path / "adapter" / WEIGHTS)
    trained = run(
        config(tiny_model_path), tmp_path / "second", plan=in_order("sft", steps=1), adapter=tmp_path / "adapter"
    )
    assert {p.dtype for name, p in trained.outcome.model.named_parameters() if "lora_" in name} == {torch.float32}


@pytest.mark.usefixtures("first")
def test_an_adapter_of_pickled_weights_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    (tmp_path / "adapter" / WEIGHTS).rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"has no adapter_model.safetensors; no other form of weights is read$"):
        run(config(tiny_model_path), tmp_path, adapter=tmp_path / "adapter")
