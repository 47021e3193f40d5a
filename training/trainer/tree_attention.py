"""Attention over packed rows on a processor: each token meets what it may see, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.trainer.packing import PackedRow

NAME = "packed_tree"
# Queries that are taken together: few enough that little above the diagonal is computed, enough for a quick product.
_QUERIES = 160


@dataclass(frozen=True, slots=True)
class Block:
    """A run of queries in some rows of a batch, with the columns of all keys that its last query sees.

    The last keys are the queries' own columns.
    """

    rows: slice
    queries: slice
    keys: slice | torch.Tensor


def attention_blocks(rows: Sequence[PackedRow]) -> tuple[Block, ...]:
    """Divide the rows of a batch into blocks; rows that do not branch go together, their padding with them."""
    if not any(row.branches for row in rows):
        width = max(len(row) for row in rows)
        starts = range(0, width, _QUERIES)
        ends = [min(begin + _QUERIES, width) for begin in starts]
        together = slice(0, len(rows))
        return tuple(Block(together, slice(begin, end), slice(0, end)) for begin, end in zip(starts, ends, strict=True))
    blocks = []
    for number, row in enumerate(rows):
        for segment in row.segments:
            goes_on = np.array_equal(segment.before, np.arange(segment.begin))
            for begin in range(segment.begin, segment.end, _QUERIES):
                end = min(begin + _QUERIES, segment.end)
                parted = np.concatenate([segment.before, np.arange(segment.begin, end)])
                keys = slice(0, end) if goes_on else torch.from_numpy(parted)
                blocks.append(Block(slice(number, number + 1), slice(begin, end), keys))
    return tuple(blocks)


def use_tree_attention(model: PreTrainedModel) -> None:
    """Let the model's attention go by `blocks`, where a call passes them; without them it is sdpa's as before."""
    AttentionInterface.register(NAME, tree_attention_forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def tree_attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    blocks: Sequence[Block] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return attention in the form that Transformers asks of an implementation: output (R, T, heads, d), no weights.

    `query` is (R, heads, T, d), `key` and `value` (R, key heads, T, d); `blocks` are those of the batch.
    """
    if blocks is None or dropout > 0:
        output, weights = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, weights
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Rotating queries and keys may have widened them; the products run in the precision that the layer computes in.
    query, key = query.to(value.dtype), key.to(value.dtype)
    attended: torch.Tensor = _TreeAttention.apply(query, key, value, blocks, scale)  # type: ignore[no-untyped-call]
    return attended.transpose(1, 2), None


class _TreeAttention(torch.autograd.Function):
    """softmax(scale Q K') V over the pairs of tokens that see each other; Vaswani et al. 2017, arXiv 1706.03762.

    A packed row is a third to a half mask: a rejected answer sees no chosen one, and no token what comes after it. The
    kernels that torch has for processors compute those products all the same. Key heads that several query heads
    share are multiplied by all of them at once. The weights are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        blocks: Sequence[Block],
        scale: float,
    ) -> torch.Tensor:
        heads = query.shape[1]
        output = torch.zeros_like(query)
        kept = []
        for block in blocks:
            size = block.queries.stop - block.queries.start
            k, v = _stacked(key, block.rows, block.keys), _stacked(value, block.rows, block.keys)
            q = _stacked(query, block.rows, block.queries).reshape(len(k), -1, query.shape[-1])
            scores = torch.bmm(q, k.transpose(1, 2)).view(-1, size, k.shape[1])
            scores[:, :, -size:].masked_fill_(_later(size), float("-inf"))
            weights = torch.softmax(scores.mul_(scale), -1, dtype=torch.float32).to(query.dtype)
            mixed = torch.bmm(weights.view(len(k), q.shape[1], -1), v)
            output[block.rows, :, block.queries] = mixed.view(-1, heads, size, query.shape[-1])
            kept.append(weights)
        ctx.save_for_backward(query, key, value, output, *kept)
        ctx.blocks, ctx.scale = blocks, scale
        return output

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, output, *kept = ctx.saved_tensors
        heads, groups, width = query.shape[1], key.shape[1], query.shape[-1]
        grad_query = torch.zeros_like(query)
        grad_key, grad_value = (torch.zeros_like(given, dtype=torch.float32) for given in (key, value))
        # The part of the softmax's gradient that is the same for a whole row of weights.
        shared = (grad * output).sum(-1, keepdim=True, dtype=torch.float32)
        for block, weights in zip(ctx.blocks, kept, strict=True):
            rows, queries, keys = block.rows, block.queries, block.keys
            size = weights.shape[1]
            k, v = _stacked(key, rows, keys), _stacked(value, rows, keys)
            q = _stacked(query, rows, queries).reshape(len(k), -1, width)
            g = _stacked(grad, rows, queries).reshape(len(k), -1, width)
            grad_weights = torch.bmm(g, v.transpose(1, 2)).view(weights.shape)
            grad_scores = grad_weights.sub_(_stacked(shared, rows, queries)).mul_(weights).mul_(ctx.scale)
            grad_scores = grad_scores.view(len(k), q.shape[1], -1)
            grad_query[rows, :, queries] = torch.bmm(grad_scores, k).view(-1, heads, size, width)
            turned = weights.view(len(k), q.shape[1], -1).transpose(1, 2)
            _add(grad_key[rows], keys, torch.bmm(grad_scores.transpose(1, 2), q).view(-1, groups, k.shape[1], width))
            _add(grad_value[rows], keys, torch.bmm(turned, g).view(-1, groups, k.shape[1], width))
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None


def _stacked(given: torch.Tensor, rows: slice, columns: slice | torch.Tensor) -> torch.Tensor:
    """Return the columns of some rows of a tensor (R, heads, T, d), shape (rows x heads, columns, d)."""
    return given[rows, :, columns].flatten(0, 1)


def _later(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).triu(1)


def _add(total: torch.Tensor, columns: slice | torch.Tensor, part: torch.Tensor) -> None:
    if isinstance(columns, slice):
        total[:, :, columns] += part
    else:
        total.index_add_(2, columns, part.float())
