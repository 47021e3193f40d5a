"""The fused LoRA product equals PEFT's own layer."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from training.trainer.lora_linear import fuse_lora, unfuse_lora

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.arange(10, 34).reshape(2, 12)


def adapted(tiny_model_path: str, **settings: object) -> PeftModel:
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def passed(model: PeftModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    torch.autograd.backward(logits.log_softmax(-1)[..., 3].sum())
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), grads


def test_output_and_gradients_are_pefts(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path)
    plain, plain_grads = passed(model)
    fuse_lora(model, dtype=torch.float32)
    fused, fused_grads = passed(model)
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    assert fused_grads.keys() == plain_grads.keys()
    assert len(plain_grads) == 28
    for name, grad in plain_grads.items():
        torch.testing.assert_close(fused_grads[name], grad, atol=1e-4, rtol=1e-4, msg=name)


def test_every_linear_layer_is_fused(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path)
    fuse_lora(model, dtype=torch.float32)
    assert sum("forward" in vars(module) for module in model.modules()) == 14
    unfuse_lora(model)
    assert sum("forward" in vars(module) for module in model.modules()) == 0


def test_a_layer_with_dropout_keeps_pefts_own_forward(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path, lora_dropout=0.5)
    fuse_lora(model, dtype=torch.float32)
    assert sum("forward" in vars(module) for module in model.modules()) == 0


def test_without_its_adapter_the_model_is_its_base(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)
    fuse_lora(model, dtype=torch.float32)
    with torch.no_grad(), model.disable_adapter():
        torch.testing.assert_close(model(input_ids=IDS).logits, base(input_ids=IDS).logits)


def test_a_second_adapter_is_used_while_it_is_active(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path)
    model.add_adapter("ref", model.peft_config["default"])
    fuse_lora(model, dtype=torch.float32)
    with torch.no_grad():
        first = model(input_ids=IDS).logits
        model.set_adapter("ref")
        second = model(input_ids=IDS).logits
        unfuse_lora(model)
        torch.testing.assert_close(second, model(input_ids=IDS).logits)
    assert (first - second).abs().max() > 1e-3


def test_bfloat16_stays_near_pefts_autocast(tiny_model_path: str) -> None:
    model = adapted(tiny_model_path)
    with torch.autocast("cpu", torch.bfloat16):
        plain, _ = passed(model)
        fuse_lora(model, dtype=torch.bfloat16)
        fused, grads = passed(model)
    assert (fused - plain).float().abs().max() < 0.05 * plain.float().abs().max()
    assert {grad.dtype for grad in grads.values()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_frozen_weight_gets_no_gradient(tiny_model_path: str, dtype: torch.dtype) -> None:
    model = adapted(tiny_model_path)
    fuse_lora(model, dtype=dtype)
    _, grads = passed(model)
    assert all("lora_" in name for name in grads)
