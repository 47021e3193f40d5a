"""Where an adapter starts: afresh, or from one that an earlier run left."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from training.artifacts import MANIFEST
from training.config.schema import TrainingConfig

WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


class AdapterError(ValueError):
    """An adapter cannot be taken up; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What training starts from, with the checksums of its weights.

    A fresh adapter is still to be put on `model`, by `lora`; one that was taken up is there, and `lora` is None, as
    `adapter_checksum` is for a fresh one.
    """

    model: PreTrainedModel | PeftModel
    lora: LoraConfig | None
    base_checksum: str
    adapter_checksum: str | None


def start_adapter(base: PreTrainedModel, config: TrainingConfig, *, adapter: Path | None) -> StartingPoint:
    """Return what to train: the base model with the adapter in the folder `adapter`, or with a fresh one to come.

    Raises:
        AdapterError: the folder holds no adapter for this base model and config, or not the one its manifest names.

    """
    base_checksum = checksum(base.state_dict())
    if adapter is None:
        return StartingPoint(base, lora_config(config), base_checksum, None)
    _check_settings(adapter, config)
    _check_manifest(adapter, base_checksum)
    try:
        with warnings.catch_warnings():
            # PEFT warns of weights that the file lacks; `check_loaded` refuses them.
            warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
            model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise AdapterError(f"init_adapter: {adapter} does not fit the base model: {_first_line(error)}") from error
    return StartingPoint(model, None, base_checksum, check_loaded(model, adapter))


def lora_config(config: TrainingConfig) -> LoraConfig:
    """Return PEFT's config of a fresh adapter; its update is zero at the start."""
    modules = config.lora.target_modules
    return LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.lora_alpha,
        lora_dropout=config.lora.lora_dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )


def check_loaded(model: PeftModel, folder: Path) -> str:
    """Return the checksum of the model's adapter, which must be that of the file in `folder`.

    Raises:
        AdapterError: they differ, as when loading leaves weights out without an error.

    """
    loaded = get_peft_model_state_dict(model, adapter_name="default")
    stored = load_file(folder / WEIGHTS)
    # PEFT widens the weights of an adapter in half precision.
    expected = checksum({name: t.to(loaded[name].dtype) if name in loaded else t for name, t in stored.items()})
    found = checksum(loaded)
    if found != expected:
        raise AdapterError(
            f"{folder}: the adapter in memory is not the one in the file (checksum {found[:12]}, "
            f"expected {expected[:12]}); training would start from something else"
        )
    return found


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors, in the order of their names, whatever device they are on."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_settings(folder: Path, config: TrainingConfig) -> None:
    try:
        settings: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"init_adapter: {folder} holds no adapter ({ADAPTER_CONFIG}: {error})") from error
    if not (folder / WEIGHTS).is_file():
        raise AdapterError(f"init_adapter: {folder} has no {WEIGHTS}; no other form of weights is read")
    for key in ("r", "lora_alpha"):
        if settings.get(key) != getattr(config.lora, key):
            raise AdapterError(
                f"init_adapter: {folder} has {key} {settings.get(key)}, the config says {getattr(config.lora, key)}; "
                "they must agree"
            )


def _check_manifest(folder: Path, base_checksum: str) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        return
    recorded = json.loads(path.read_text(encoding="utf-8"))
    if recorded.get("base_checksum", base_checksum) != base_checksum:
        raise AdapterError(
            f"init_adapter: {folder} was trained on other base weights (checksum {recorded['base_checksum'][:12]}) "
            f"than those loaded now ({base_checksum[:12]})"
        )
    found = checksum(load_file(folder / WEIGHTS))
    if recorded.get("adapter_checksum", found) != found:
        raise AdapterError(
            f"init_adapter: {folder} was changed since its run wrote it; its manifest names other weights"
        )


def _first_line(error: BaseException) -> str:
    # PEFT's message lists every tensor; the first that differs says enough.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])
