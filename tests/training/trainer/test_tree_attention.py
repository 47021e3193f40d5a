"""Attention in blocks is attention under the mask."""

from collections.abc import Sequence

import pytest
import torch

from training.trainer.packing import PackedRow, TokenSequence, pack
from training.trainer.tree_attention import attention_blocks, tree_attention_forward

# Four query heads on two key heads; rows longer than the queries that are taken together.
HEADS, KEY_HEADS, WIDTH = 4, 2, 8
PROMPT = tuple(range(150))
ROWS = [
    pack([TokenSequence((*PROMPT, *range(1000, 1140)), 150), TokenSequence((*PROMPT, *range(2000, 2010)), 150)]),
    pack([TokenSequence(tuple(range(3000, 3300)), 5)]),
    pack([TokenSequence((1, 2, 3), 2), TokenSequence((1, 2, 4, 5), 2), TokenSequence((1, 2, 4, 6), 3)]),
]
UNBRANCHED = [pack([TokenSequence(tuple(range(length)), 2)]) for length in (300, 290, 7)]


class Layer(torch.nn.Module):
    """What Transformers hands to an attention function of its layer."""

    num_key_value_groups = HEADS // KEY_HEADS
    is_causal = True


def batch(rows: Sequence[PackedRow] = ROWS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    columns = max(map(len, rows))
    query, key, value = (
        torch.randn(len(rows), heads, columns, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    mask = torch.eye(columns, dtype=torch.bool).repeat(len(rows), 1, 1, 1)
    for number, row in enumerate(rows):
        mask[number, 0, : len(row), : len(row)] = torch.from_numpy(row.visible())
    return query, key, value, mask


def real(output: torch.Tensor, rows: Sequence[PackedRow]) -> torch.Tensor:
    """Return the outputs of tokens, without those of padding."""
    return torch.cat([output[number, : len(row)].flatten() for number, row in enumerate(rows)])


@pytest.mark.parametrize("rows", [ROWS, UNBRANCHED])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_output_and_gradients_are_those_under_the_mask(scaling: float | None, rows: Sequence[PackedRow]) -> None:
    query, key, value, mask = batch(rows)
    plain, _ = tree_attention_forward(Layer(), query, key, value, mask, scaling=scaling)
    blocks = attention_blocks(rows)
    ours, _ = tree_attention_forward(Layer(), query, key, value, mask, scaling=scaling, blocks=blocks)
    # Weights are float32, whatever the rest is.
    torch.testing.assert_close(real(ours, rows), real(plain, rows), atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, real(plain, rows).numel(), dtype=torch.float64)
    given = (query, key, value)
    expected = torch.autograd.grad((real(plain, rows) * weights).sum(), given)
    # Gradients of keys and values are summed in float32.
    found = torch.autograd.grad((real(ours, rows) * weights).sum(), given)
    for name, left, right in zip(("query", "key", "value"), found, expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5, msg=name)


def test_blocks_hold_every_query_once_with_what_it_sees() -> None:
    seen = [torch.zeros(len(row), len(row), dtype=torch.bool) for row in ROWS]
    for block in attention_blocks(ROWS):
        size = block.queries.stop - block.queries.start
        (row,) = range(*block.rows.indices(len(ROWS)))
        keys = torch.arange(len(ROWS[row]))[block.keys]
        for offset in range(size):
            column = block.queries.start + offset
            assert not seen[row][column].any()
            seen[row][column, keys[: len(keys) - size + offset + 1]] = True
    for packed, found in zip(ROWS, seen, strict=True):
        assert torch.equal(found, torch.from_numpy(packed.visible()))


def test_rows_that_do_not_branch_share_their_blocks() -> None:
    assert [block.rows for block in attention_blocks(UNBRANCHED)] == [slice(0, 3)] * 2


def test_with_dropout_it_is_sdpas() -> None:
    query, key, value, mask = batch()
    torch.manual_seed(0)
    ours, _ = tree_attention_forward(Layer(), query, key, value, mask, dropout=0.5, blocks=attention_blocks(ROWS))
    torch.manual_seed(0)
    plain, _ = tree_attention_forward(Layer(), query, key, value, mask, dropout=0.5)
    torch.testing.assert_close(ours, plain)
