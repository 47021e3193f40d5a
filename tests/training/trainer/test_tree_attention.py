"""Attention in blocks is attention under the mask."""

import pytest
import torch

from training.trainer.packing import TokenSequence, pack
from training.trainer.tree_attention import attention_blocks, tree_attention_forward

# Four query heads on two key heads; rows longer than the queries that are taken together.
HEADS, KEY_HEADS, WIDTH = 4, 2, 8
PROMPT = tuple(range(150))
ROWS = [
    pack([TokenSequence((*PROMPT, *range(1000, 1140)), 150), TokenSequence((*PROMPT, *range(2000, 2010)), 150)]),
    pack([TokenSequence(tuple(range(3000, 3300)), 5)]),
    pack([TokenSequence((1, 2, 3), 2), TokenSequence((1, 2, 4, 5), 2), TokenSequence((1, 2, 4, 6), 3)]),
]


class Layer(torch.nn.Module):
    """What Transformers hands to an attention function of its layer."""

    num_key_value_groups = HEADS // KEY_HEADS
    is_causal = True


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    columns = max(map(len, ROWS))
    query, key, value = (
        torch.randn(len(ROWS), heads, columns, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    mask = torch.eye(columns, dtype=torch.bool).repeat(len(ROWS), 1, 1, 1)
    for number, row in enumerate(ROWS):
        mask[number, 0, : len(row), : len(row)] = torch.from_numpy(row.visible())
    return query, key, value, mask


def real(output: torch.Tensor) -> torch.Tensor:
    """Return the outputs of tokens, without those of padding."""
    return torch.cat([output[number, : len(row)].flatten() for number, row in enumerate(ROWS)])


@pytest.mark.parametrize("scaling", [None, 0.5])
def test_output_and_gradients_are_those_under_the_mask(scaling: float | None) -> None:
    query, key, value, mask = batch()
    plain, _ = tree_attention_forward(Layer(), query, key, value, mask, scaling=scaling)
    blocks = attention_blocks(ROWS)
    ours, _ = tree_attention_forward(Layer(), query, key, value, mask, scaling=scaling, blocks=blocks)
    # Weights are float32, whatever the rest is.
    torch.testing.assert_close(real(ours), real(plain), atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, real(plain).numel(), dtype=torch.float64)
    given = (query, key, value)
    expected = torch.autograd.grad((real(plain) * weights).sum(), given)
    # Gradients of keys and values are summed in float32.
    found = torch.autograd.grad((real(ours) * weights).sum(), given)
    for name, left, right in zip(("query", "key", "value"), found, expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5, msg=name)


def test_blocks_hold_every_query_once_with_what_it_sees() -> None:
    seen = [torch.zeros(len(row), len(row), dtype=torch.bool) for row in ROWS]
    for block in attention_blocks(ROWS):
        size = block.queries.stop - block.queries.start
        keys = torch.arange(len(ROWS[block.row]))[block.keys]
        for offset in range(size):
            column = block.queries.start + offset
            assert not seen[block.row][column].any()
            seen[block.row][column, keys[: len(keys) - size + offset + 1]] = True
    for row, found in zip(ROWS, seen, strict=True):
        assert torch.equal(found, torch.from_numpy(row.visible()))


def test_with_dropout_it_is_sdpas() -> None:
    query, key, value, mask = batch()
    torch.manual_seed(0)
    ours, _ = tree_attention_forward(Layer(), query, key, value, mask, dropout=0.5, blocks=attention_blocks(ROWS))
    torch.manual_seed(0)
    plain, _ = tree_attention_forward(Layer(), query, key, value, mask, dropout=0.5)
    torch.testing.assert_close(ours, plain)
