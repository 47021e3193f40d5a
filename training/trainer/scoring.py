"""What a model says of completion tokens, without what it says of prompts."""

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

# Logits that are widened to float32 at a time, whole rows of them: so few that they stay in a core's cache.
_TILE_NUMBERS = 400_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where in a batch the outputs are that are wanted: `rows` and `columns`, both of shape (N,)."""

    rows: torch.Tensor
    columns: torch.Tensor


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """What TRL's metrics read of each target token besides its log-probability; all of shape (N,).

    `entropy` is in nats.
    """

    entropy: torch.Tensor
    mean_logits: torch.Tensor
    is_top1: torch.Tensor


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What losses read of each target token: `log_probs` in nats, shape (N,), float32; gradients flow through them."""

    log_probs: torch.Tensor
    statistics: TokenStatistics | None = None


@dataclass(frozen=True, slots=True)
class PlacedLogits:
    """The logits at the wanted places, shape (N, vocab), in the precision that they were computed in.

    No mapping, so that Accelerate does not copy them into float32.
    """

    values: torch.Tensor


class _LogProbs(torch.autograd.Function):
    """Log-probability of each target, from logits that the backward pass overwrites with their gradient.

    The gradient of log softmax, onehot - softmax, needs no more than the logits with their log-sum-exp, so that
    neither direction holds a second tensor of shape (N, vocab).
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        log_z = logits.new_empty(len(targets), dtype=torch.float32)
        for tile in _tiles(logits):
            wide, top = _shifted(logits[tile])
            log_z[tile] = top + wide.exp_().sum(-1).log()
        target_logits = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1).float()
        ctx.save_for_backward(logits, targets, log_z)
        return target_logits - log_z

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets, log_z = ctx.saved_tensors
        for tile in _tiles(logits):
            # Logits in float32 are not copied here, and change in place.
            wide = logits[tile].float()
            wide.sub_(log_z[tile].unsqueeze(-1)).exp_().mul_(-grad[tile].unsqueeze(-1))
            wide.scatter_add_(-1, targets[tile].unsqueeze(-1), grad[tile].unsqueeze(-1))
            if wide.dtype != logits.dtype:
                logits[tile] = wide
        return logits, None


def score_tokens(logits: torch.Tensor, targets: torch.Tensor, *, statistics: bool = False) -> TokenScores:
    """Return what `logits`, shape (N, vocab), say of `targets`, shape (N,).

    A backward pass through the scores leaves the gradient where the logits were.
    """
    found = _statistics(logits.detach(), targets) if statistics else None
    return TokenScores(_LogProbs.apply(logits, targets), found)  # type: ignore[no-untyped-call]  # torch leaves apply untyped


def _statistics(logits: torch.Tensor, targets: torch.Tensor) -> TokenStatistics:
    entropy, mean_logits = (logits.new_empty(len(targets), dtype=torch.float32) for _ in range(2))
    is_top1 = torch.empty(len(targets), dtype=torch.bool, device=logits.device)
    for tile in _tiles(logits):
        mean_logits[tile] = logits[tile].mean(-1, dtype=torch.float32)
        is_top1[tile] = logits[tile].argmax(-1) == targets[tile]
        wide, _ = _shifted(logits[tile])
        weights = wide.exp()
        total = weights.sum(-1)
        entropy[tile] = total.log() - torch.linalg.vecdot(weights, wide) / total
    return TokenStatistics(entropy, mean_logits, is_top1)


def _tiles(logits: torch.Tensor) -> Iterator[slice]:
    rows = max(_TILE_NUMBERS // logits.shape[-1], 1)
    return (slice(start, start + rows) for start in range(0, len(logits), rows))


def _shifted(tile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a tile of logits in float32, less the largest of each row, with that; the tile stays as it is."""
    wide = tile.to(torch.float32, copy=True)
    top = wide.amax(-1)
    return wide.sub_(top.unsqueeze(-1)), top


def add_placed_head(model: PreTrainedModel, *, head_dtype: torch.dtype | None = None) -> None:
    """Let `model(..., places=Places)` run its head at those places alone; it then returns `PlacedLogits`.

    For a small model the head is a fifth of the work, and prompts are most of the tokens. A position may be wanted
    twice: where answers part, one output predicts the first token of each. What a model does with its logits after
    the head, such as a soft cap, still happens. With `head_dtype`, the frozen weight of a plain linear head is kept in
    that precision beside the original, which autocast would convert at every such call. Calls without `places` are
    as before.
    """
    original = model.forward
    converted = None if head_dtype is None else _head_in(model.get_output_embeddings(), head_dtype)

    def forward(self: PreTrainedModel, *args: Any, places: Places | None = None, **kwargs: Any) -> Any:
        if places is None:
            return original(*args, **kwargs)

        def select(_head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            hidden, *rest = inputs
            return (hidden[places.rows, places.columns].unsqueeze(0), *rest)

        head = self.get_output_embeddings()
        hook = head.register_forward_pre_hook(select)
        if converted is not None:
            head.forward = converted
        try:
            outputs = original(*args, use_cache=False, **kwargs)
        finally:
            hook.remove()
            head.__dict__.pop("forward", None)
        return PlacedLogits(outputs.logits.squeeze(0))

    # `generate` checks its arguments against this signature.
    forward.__wrapped__ = type(model).forward  # type: ignore[attr-defined]  # what functools.wraps sets
    model.forward = types.MethodType(forward, model)


def _head_in(head: torch.nn.Module, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the head's product in `dtype`; None where it is not plain linear, is trained, or has that precision."""
    if type(head) is not torch.nn.Linear or head.weight.requires_grad or head.weight.dtype == dtype:
        return None
    weight = head.weight.detach().to(dtype)
    bias: torch.Tensor | None = head.bias
    converted = None if bias is None else bias.detach().to(dtype)
    return lambda hidden: torch.nn.functional.linear(hidden.to(dtype), weight, converted)
