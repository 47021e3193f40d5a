"""Matrix products in the processor's fastest precision, and how to look for large results in them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maintenance.similarity.rows import Positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Ordered = npt.NDArray[Any]

# Up to the large step, the numbers of rows of a product are multiples of the small one.
SMALL_STEP, LARGE_STEP = 32, 128


@cache
def product_dtype() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float32."""
    import torch  # heavy: whoever only names this package must not wait for it

    found = torch.cpu.get_capabilities()
    return torch.bfloat16 if found.get("avx512_bf16") or found.get("amx_bf16") else torch.float32


def rounding(dtype: torch.dtype) -> float:
    """Return the most by which rounding to `dtype` moves a number, relative to it."""
    import torch  # heavy, see above

    return torch.finfo(dtype).eps / 2


def ordered(values: Tensor) -> Ordered:
    """Return `values` as NumPy compares them fastest, same shape.

    Those of bfloat16, which NumPy does not know, become their bits: whole numbers in the same order, but that negative
    values, while below all others, are not in order among themselves. Compared so, a score costs a twentieth of what
    its product does, where PyTorch's comparison costs as much as the product.
    """
    import torch  # heavy, see above

    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()


def ordered_floor(values: npt.NDArray[np.float32], dtype: torch.dtype) -> Ordered:
    """Return the largest values of `dtype` that are not above `values`, as `ordered` returns them, same shape.

    In bfloat16 all that are not above 0 become the least, so that too much is found rather than too little.
    """
    import torch  # heavy, see above

    if dtype != torch.bfloat16:
        return values
    bits: npt.NDArray[np.int16] = (values.view(np.int32) >> 16).astype(np.int16)
    return np.where(values <= 0, np.iinfo(np.int16).min, bits)


def in_steps(positions: Positions) -> Positions:
    """Return `positions`, at least one, with the last repeated up to a round number.

    oneDNN compiles a kernel for every new shape, which takes longer than the product of a few hundred rows. So there
    are few shapes.
    """
    count = len(positions)
    step = SMALL_STEP if count <= LARGE_STEP else LARGE_STEP
    stepped = np.empty(count + -count % step, dtype=np.int32)
    stepped[:count] = positions
    stepped[count:] = positions[-1]
    return stepped


def gathered(values: Tensor, positions: Positions) -> Tensor:
    """Return the rows of `values` at `positions`, shape (p, k)."""
    import torch  # heavy, see above

    # Indexing with brackets takes seven times as long.
    return values.index_select(0, torch.from_numpy(positions))
