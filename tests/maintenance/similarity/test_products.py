"""Values in the order of their bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maintenance.similarity import products as module
from maintenance.similarity.products import gathered, in_steps, ordered, ordered_floor, product_dtype, rounding

numbers = st.floats(-4, 4, width=32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@given(bound=numbers, values=st.lists(numbers, min_size=1))
def test_nothing_at_or_above_a_bound_is_missed(dtype: torch.dtype, bound: float, values: list[float]) -> None:
    rounded = torch.tensor(values).to(dtype)
    found = ordered(rounded) >= ordered_floor(np.array(bound, dtype=np.float32), dtype)
    assert found[(rounded.double() >= bound).numpy()].all()
    # And little else: what is found lies within a rounding step of the bound, but for numbers next to 0.
    if bound > 1e-30:
        assert (rounded.double().numpy()[found] >= bound * (1 - 2 * rounding(dtype))).all()


@given(values=st.lists(numbers, min_size=1))
def test_rounding_moves_a_number_by_no_more_than_it_says(values: list[float]) -> None:
    exact = torch.tensor(values).double()
    # Numbers next to 0 are flushed to it.
    assert ((exact.bfloat16().double() - exact).abs() <= rounding(torch.bfloat16) * exact.abs() + 1e-37).all()


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_only_where_the_processor_has_it(
    capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert module.product_dtype.__wrapped__() == dtype
    assert product_dtype() in (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(("count", "padded"), [(1, 32), (32, 32), (100, 128), (128, 128), (129, 256), (2_048, 2_048)])
def test_products_have_few_shapes(count: int, padded: int) -> None:
    positions = np.arange(count, dtype=np.int32)
    steps = in_steps(positions)
    assert steps.dtype == np.int32
    assert steps.tolist() == positions.tolist() + [count - 1] * (padded - count)
    values = torch.arange(2 * count).reshape(count, 2)
    assert torch.equal(gathered(values, steps), values[steps.tolist()])
