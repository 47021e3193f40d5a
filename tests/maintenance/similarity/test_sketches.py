"""Sketches never make a pair less similar than it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maintenance.similarity import sketches as module
from maintenance.similarity.rows import rows_with_direction
from maintenance.similarity.sketches import sketch, sketch_error
from tests.maintenance.similarity.vectors import random_rows, text_like

DTYPES = [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), width=st.sampled_from([5, 128, 129, 384]), is_random=st.booleans())
def test_products_of_sketches_are_at_least_the_cosines(
    dtype: torch.dtype, seed: int, width: int, *, is_random: bool
) -> None:
    vectors = (random_rows if is_random else text_like)(40, width=width, seed=seed)
    rows = rows_with_direction(vectors)
    everyone = np.arange(40, dtype=np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "product_dtype", lambda: dtype)
        sketches = sketch(rows).double()
    assert sketches.shape == (40, min(width, 128))
    assert ((sketches @ sketches.T).numpy() >= rows.cosine_table(everyone, everyone) - sketch_error(dtype)).all()
    # The bound of the cells takes sketches for unit rows, but for what rounding moves them.
    assert np.allclose(sketches.norm(dim=1).numpy(), 1, atol=0.004)


def test_sketches_tell_unlike_texts_apart() -> None:
    rows = rows_with_direction(text_like(600))
    sketches = sketch(rows).double()
    everyone = np.arange(600, dtype=np.int32)
    close = (sketches @ sketches.T).numpy() > 0.92 - sketch_error(torch.bfloat16)
    similar = rows.cosine_table(everyone, everyone) > 0.92
    assert close.sum() < 1.5 * similar.sum()


def test_a_row_along_the_strongest_directions_has_nothing_left() -> None:
    """What is left of it is rounding, which must not come out as less than it is."""
    vectors = np.zeros((200, 384), dtype=np.float16)
    vectors[np.arange(200), np.arange(200) % 100] = 1
    sketches = sketch(rows_with_direction(vectors)).float()
    assert (sketches[:, -1] > 0).all()
    assert (sketches[:, -1] < 0.02).all()
