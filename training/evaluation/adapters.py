"""Adapters side by side: measured on one base model, on the same things."""

import json
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from training.artifacts import MANIFEST
from training.config.schema import TrainingConfig
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.report import Measurement, drift, figures, measure
from training.trainer.adapters import ADAPTER_CONFIG, WEIGHTS, AdapterError, checksum
from training.trainer.base_model import load_base_model
from training.trainer.renderable import renderable_evaluation

# PEFT's message lists every tensor; the first that differs says enough.
_LONGEST_REASON = 240


@dataclass(frozen=True, slots=True)
class AdapterEvaluation:
    """The base model as it is, and with each adapter, in the order in which they were asked for.

    `measured_on` is what was to be measured on, without what the base model's chat template refuses.
    """

    base: Measurement
    adapters: tuple[Measurement, ...]
    measured_on: EvaluationSet

    def figures(self) -> list[dict[str, float | None]]:
        """Return the figures of the base, then of each adapter, with its drift from the base; None is not measured."""
        return [figures(measured) | drift(self.base, measured) for measured in (self.base, *self.adapters)]


def evaluate_adapters(
    config: TrainingConfig, given: EvaluationSet, folders: Sequence[Path], *, cache_dir: Path
) -> AdapterEvaluation:
    """Measure the config's base model, then each adapter on it; what these are is left as it is.

    Raises:
        AdapterError: a folder holds no LoRA adapter for this base model.
        BaseModelError: the base model cannot be loaded.

    """
    for folder in folders:
        _check_kind(folder)
    transformers_logging.disable_progress_bar()
    base, tokenizer = load_base_model(config, cache_dir=cache_dir)
    _check_base(base, folders)
    given = renderable_evaluation(given, tokenizer)

    def measured(model: PreTrainedModel | PeftModel, when: str) -> Measurement:
        return measure(model, tokenizer, given, max_length=config.max_length, when=when)

    before = measured(base, "of the base model")
    found = []
    for folder in folders:
        model = _put_on(base, folder)
        found.append(measured(model, f"with {folder}"))
        base = model.unload()
    return AdapterEvaluation(before, tuple(found), given)


def _check_kind(folder: Path) -> None:
    settings = _json(folder / ADAPTER_CONFIG)
    if settings is None:
        raise AdapterError(f"{folder} holds no adapter: it has no {ADAPTER_CONFIG}")
    if not (folder / WEIGHTS).is_file():
        raise AdapterError(f"{folder} has no {WEIGHTS}; no other form of weights is read")
    if settings.get("peft_type") != "LORA":
        raise AdapterError(f"{folder}: got an adapter of type {settings.get('peft_type')}, allowed LORA")


def _check_base(base: PreTrainedModel, folders: Sequence[Path]) -> None:
    recorded = {folder: (_json(folder / MANIFEST) or {}).get("base_checksum") for folder in folders}
    if not any(recorded.values()):
        return
    loaded = checksum(base.state_dict())
    for folder, expected in recorded.items():
        if expected not in {None, loaded}:
            raise AdapterError(
                f"{folder} was trained on other base weights (checksum {expected[:12]}) than those loaded now "
                f"({loaded[:12]})"
            )


def _put_on(base: PreTrainedModel, folder: Path) -> PeftModel:
    try:
        with warnings.catch_warnings():
            # PEFT still asks a transformers property by the name it had before, and warns of what is checked below.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is dep", category=FutureWarning)
            warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
            model = PeftModel.from_pretrained(base, folder)
        in_file = load_file(folder / WEIGHTS).keys()
    except (RuntimeError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" …")
        raise AdapterError(f"{folder} does not fit the base model: {reason}") from error
    strange = sorted(in_file ^ get_peft_model_state_dict(model).keys())
    if strange:
        raise AdapterError(f"{folder} does not fit the base model: only one of them knows {strange[0]}")
    return model


def _json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None where there is no such file."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: got {type(content).__name__} at the top, allowed an object")
    return content
