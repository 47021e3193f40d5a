"""Folders of small adapters, made here."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


def adapted(model: Any, *, seed: int = 1, r: int = 4, lora_dropout: float = 0.0) -> PeftModel:
    """Return the model with an adapter whose update is not zero."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # PEFT asks a transformers property by the name it had before.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        settings = LoraConfig(r=r, target_modules="all-linear", lora_dropout=lora_dropout, task_type="CAUSAL_LM")
        found = get_peft_model(model, settings)
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return found


def adapter_folder(
    folder: Path, model_path: str, *, seed: int = 1, r: int = 4, dtype: torch.dtype = torch.float32
) -> Path:
    """Write an adapter for the model at `model_path`, as plain PEFT does; return its folder."""
    model = adapted(AutoModelForCausalLM.from_pretrained(model_path), seed=seed, r=r)
    model.to(dtype).save_pretrained(folder)
    return folder


def adapter_of_another_model(folder: Path, *, layers: int, hidden_size: int) -> Path:
    """Write an adapter for a Llama of these sizes; return its folder."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=320,
            hidden_size=hidden_size,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )
    adapted(model).save_pretrained(folder)
    return folder
