"""A LoRA layer as one operation, where PEFT's takes seven."""

import types
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear


class _LoraProduct(torch.autograd.Function):
    """y = x W' + b + s (x A') B', with W frozen; Hu et al. 2021, arXiv 2106.09685.

    PEFT adds the update in separate passes over the output, and where the adapter is float32 under autocast it
    widens the input first. Here the second product adds onto the first in place, in both directions, and the
    backward pass needs the input, x A' and the weights alone. All products run in W's precision.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        lora_a: torch.Tensor,
        lora_b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        down, up = lora_a.to(weight.dtype), lora_b.to(weight.dtype) * scaling
        reduced = rows @ down.t()
        product = torch.nn.functional.linear(rows, weight, None if bias is None else bias.to(weight.dtype))
        ctx.save_for_backward(rows, weight, down, up, reduced)
        ctx.x_shape, ctx.x_dtype, ctx.scaling, ctx.dtypes = x.shape, x.dtype, scaling, (lora_a.dtype, lora_b.dtype)
        return product.addmm_(reduced, up.t()).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, down, up, reduced = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1]).to(weight.dtype)
        reduced_grad = flat @ up
        grad_b = (flat.t() @ reduced).to(ctx.dtypes[1]).mul_(ctx.scaling)
        grad_a = (reduced_grad.t() @ rows).to(ctx.dtypes[0])
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (flat @ weight).addmm_(reduced_grad, down).view(ctx.x_shape).to(ctx.x_dtype)
        return grad_x, None, None, grad_a, grad_b, None


def fuse_lora(model: PeftModel, *, dtype: torch.dtype) -> None:
    """Let the model's plain LoRA layers run as one operation each, in `dtype`; `unfuse_lora` undoes it.

    A layer with dropout, DoRA or a quantised base keeps PEFT's own forward, and so does any layer while its adapter
    is off or merged. A frozen weight of another precision is kept in `dtype` beside the original, so that it is
    converted once rather than at every step.
    """
    for module in model.modules():
        if isinstance(module, LoraLinear) and _is_plain(module):
            base = module.get_base_layer()
            module.forward = types.MethodType(_forward(base.weight.detach().to(dtype), base.bias), module)


def unfuse_lora(model: PeftModel) -> None:
    """Give every LoRA layer its own forward back."""
    for module in model.modules():
        if isinstance(module, LoraLinear):
            module.__dict__.pop("forward", None)


def _forward(weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
    def forward(self: LoraLinear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        name = self.active_adapters[0]
        if self.disable_adapters and not self.merged:
            # The reference, which is the base: in the same precision, without a conversion either.
            return torch.nn.functional.linear(
                x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)
            )
        if self.merged or len(self.active_adapters) > 1 or args or kwargs:
            result: torch.Tensor = type(self).forward(self, x, *args, **kwargs)
            return result
        fused: torch.Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]  # torch leaves apply untyped
            x, weight, bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        )
        return fused

    return forward


def _is_plain(module: LoraLinear) -> bool:
    return (
        type(module) is LoraLinear
        and type(module.get_base_layer()) is torch.nn.Linear
        and not module.lora_variant
        and not module.fan_in_fan_out
        and all(isinstance(dropout, torch.nn.Identity) for dropout in module.lora_dropout.values())
        and all(layer.bias is None for layer in module.lora_B.values())
    )
