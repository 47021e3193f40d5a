"""What a model says of completion tokens, without what it says of prompts."""

import types
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

# Rows of logits that are widened to float32 at a time: with a large vocabulary, a few megabytes that stay in the cache.
_TILE = 16


@dataclass(frozen=True, slots=True)
class Places:
    """Where in a batch the outputs are that are wanted: `rows` and `columns`, both of shape (N,)."""

    rows: torch.Tensor
    columns: torch.Tensor


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What TRL's losses and metrics read of each target token; all of shape (N,), in float32.

    `log_probs` and `entropy` are in nats; gradients flow through `log_probs` alone.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor
    mean_logits: torch.Tensor
    is_top1: torch.Tensor


@dataclass(frozen=True, slots=True)
class PlacedLogits:
    """The logits at the wanted places, shape (N, vocab), in the precision that they were computed in.

    No mapping, so that Accelerate does not copy them into float32.
    """

    values: torch.Tensor


class _LogProbs(torch.autograd.Function):
    """Log-probability of each target, with statistics, from logits that the backward pass overwrites.

    The gradient of log softmax, onehot - softmax, needs no more than the logits with their log-sum-exp, so that
    neither direction holds a second tensor of shape (N, vocab).
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        count = len(targets)
        log_z, entropy, mean_logits = (logits.new_empty(count, dtype=torch.float32) for _ in range(3))
        is_top1 = torch.empty(count, dtype=torch.bool, device=logits.device)
        for start in range(0, count, _TILE):
            tile = slice(start, start + _TILE)
            wide = logits[tile].float()
            top, place = wide.max(-1)
            mean_logits[tile] = wide.mean(-1)
            is_top1[tile] = place == targets[tile]
            # Logits in float32 are not copied by `float`, and the backward pass still needs them.
            shifted = wide - top.unsqueeze(-1) if logits.dtype == torch.float32 else wide.sub_(top.unsqueeze(-1))
            weights = shifted.exp()
            total = weights.sum(-1)
            entropy[tile] = total.log() - torch.linalg.vecdot(weights, shifted) / total
            log_z[tile] = top + total.log()
        target_logits = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1).float()
        ctx.save_for_backward(logits, targets, log_z)
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        ctx.set_materialize_grads(False)
        return target_logits - log_z, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, None]:
        if grad is None:
            return None, None
        logits, targets, log_z = ctx.saved_tensors
        result = torch.empty_like(logits)
        for start in range(0, len(targets), _TILE):
            tile = slice(start, start + _TILE)
            wide = logits[tile].float() - log_z[tile].unsqueeze(-1)
            wide.exp_().mul_(-grad[tile].unsqueeze(-1))
            wide.scatter_add_(-1, targets[tile].unsqueeze(-1), grad[tile].unsqueeze(-1))
            result[tile] = wide
        return result, None


def score_tokens(logits: torch.Tensor, targets: torch.Tensor) -> TokenScores:
    """Return what `logits`, shape (N, vocab), say of `targets`, shape (N,)."""
    return TokenScores(*_LogProbs.apply(logits, targets))  # type: ignore[no-untyped-call]  # torch leaves apply untyped


def add_placed_head(model: PreTrainedModel) -> None:
    """Let `model(..., places=Places)` run its head at those places alone; it then returns `PlacedLogits`.

    For a small model the head is a fifth of the work, and prompts are most of the tokens. A position may be wanted
    twice: where answers part, one output predicts the first token of each. What a model does with its logits after
    the head, such as a soft cap, still happens. Calls without `places` are as before.
    """
    original = model.forward

    def forward(self: PreTrainedModel, *args: Any, places: Places | None = None, **kwargs: Any) -> Any:
        if places is None:
            return original(*args, **kwargs)

        def select(_head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            hidden, *rest = inputs
            return (hidden[places.rows, places.columns].unsqueeze(0), *rest)

        hook = self.get_output_embeddings().register_forward_pre_hook(select)
        try:
            outputs = original(*args, use_cache=False, **kwargs)
        finally:
            hook.remove()
        return PlacedLogits(outputs.logits.squeeze(0))

    # `generate` checks its arguments against this signature.
    forward.__wrapped__ = type(model).forward  # type: ignore[attr-defined]  # what functools.wraps sets
    model.forward = types.MethodType(forward, model)
