"""The base model is found and loaded, or one line says why not."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.trainer.runs import config
from training.trainer.base_model import BaseModelError, load_base_model, locate_model
from training.trainer.processes import process_device


def test_the_weights_come_in_the_precision_of_the_config(tiny_model_path: str, tmp_path: Path) -> None:
    for name in ("float32", "bfloat16"):
        model, _ = load_base_model(config(tiny_model_path, dtype=name), cache_dir=tmp_path)
        assert model.dtype == getattr(torch, name)


def test_the_attention_kernel_is_the_configs(tiny_model_path: str, tmp_path: Path) -> None:
    model, _ = load_base_model(config(tiny_model_path, attn_implementation="eager"), cache_dir=tmp_path)
    assert model.config._attn_implementation == "eager"


def test_the_model_comes_on_the_device_that_it_is_measured_and_trained_on(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_base_model(config(tiny_model_path), cache_dir=tmp_path)
    assert model.device.type == process_device().type
    monkeypatch.setattr("training.trainer.base_model.process_device", lambda: torch.device("meta"))
    model, _ = load_base_model(config(tiny_model_path), cache_dir=tmp_path)
    assert model.device.type == "meta"


def test_a_kernel_whose_package_is_missing_is_one_clear_line(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, attn_implementation="flash_attention_2")
    with pytest.raises(BaseModelError, match=r"^model_name_or_path: .* cannot be loaded: [^\n]+$"):
        load_base_model(settings, cache_dir=tmp_path)


def test_four_bits_without_cuda_are_one_clear_line(tiny_model_path: str, tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"^quantization: got 4bit, allowed none on a machine without CUDA$"):
        load_base_model(config(tiny_model_path, quantization="4bit"), cache_dir=tmp_path)


def test_a_model_whose_unpacking_was_cut_off_has_the_name_of_what_the_night_clears(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny_package").mkdir()
    for name in ("__init__.py", "tiny.gguf"):
        (tmp_path / "tiny_package" / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    for loader in (AutoTokenizer, AutoModelForCausalLM):
        plain = loader.from_pretrained
        monkeypatch.setattr(loader, "from_pretrained", lambda *_, plain=plain, **__: plain(tiny_model_path))

    def cut_off(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", cut_off)
    with pytest.raises(KeyboardInterrupt):
        locate_model("pypi:tiny_package/tiny.gguf", cache_dir=tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".tiny.partial"]
