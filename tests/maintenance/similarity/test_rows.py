"""Cosines are exact, and the same wherever they are computed."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from maintenance.similarity.rows import rows_with_direction
from tests.maintenance.similarity.vectors import random_rows, text_like


def exact_product(one: np.ndarray, other: np.ndarray) -> Fraction:
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(one, other, strict=True)), Fraction(0))


def test_squared_norms_and_scalar_products_have_no_rounding_error() -> None:
    rows = rows_with_direction(random_rows(30))
    for number in range(0, 30, 2):
        one, other = rows.vectors[number], rows.vectors[number + 1]
        assert Fraction(rows.squared_norms[number]) == exact_product(one, one)
        scale = np.sqrt(rows.squared_norms[number] * rows.squared_norms[number + 1])
        pair = np.array([[number], [number + 1]], dtype=np.int32)
        assert rows.cosines(*pair)[0] == float(exact_product(one, other)) / scale


def test_a_table_has_the_cosines_of_single_pairs_to_the_bit() -> None:
    rows = rows_with_direction(text_like(1_100, width=50))
    left, right = np.arange(0, 40, dtype=np.int32), np.arange(1_000, 1_100, dtype=np.int32)
    table = rows.cosine_table(left, right)
    pairs = rows.cosines(np.repeat(left, 100), np.tile(right, 40))
    assert np.array_equal(table.ravel(), pairs)


def test_only_rows_with_a_direction_are_left() -> None:
    vectors = random_rows(20_000, width=3)
    vectors[[2, 19_999]] = 0
    vectors[5, 1], vectors[9_000, 0] = np.inf, np.nan
    rows = rows_with_direction(vectors)
    assert len(rows) == 19_996
    assert not np.isin([2, 5, 9_000, 19_999], rows.numbers).any()
    assert np.concatenate(list(rows.blocks())).tolist() == list(range(19_996))
    assert np.allclose(np.linalg.norm(rows.units(np.arange(19_996, dtype=np.int32)).numpy(), axis=1), 1, atol=1e-6)


def test_the_smallest_and_largest_float16_numbers_have_a_direction() -> None:
    rows = rows_with_direction(np.array([[2**-24, 0], [65504, 65504]], dtype=np.float16))
    assert np.allclose(rows.units(np.arange(2, dtype=np.int32)).numpy(), [[1, 0], [0.5**0.5, 0.5**0.5]])
