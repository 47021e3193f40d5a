"""Every similar pair is found and no other, whichever way the search takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance.similarity import blocks, cells, comparison, pairs, search, similar_pairs, sketches
from tests.maintenance.similarity.vectors import (
    assert_same,
    at_angles,
    by_brute_force,
    crowd,
    random_rows,
    stored,
    text_like,
)

THRESHOLDS = [-0.2, 0.0, 0.5, 0.8, 0.92, 0.99]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen cells, and limits so small that a few hundred rows go beyond them."""
    monkeypatch.setattr(search, "cell_count", lambda size: min(size, 12))
    for module in (blocks, cells, comparison):
        monkeypatch.setattr(module, "TILE_ROWS", 150)
    monkeypatch.setattr(comparison, "PENDING_PAIRS", 500)
    monkeypatch.setattr(cells, "PENDING_VISITS", 1_000)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("rows", ["text_like", "random", "few numbers", "many numbers"])
@pytest.mark.usefixtures("way")
def test_all_pairs_that_brute_force_finds_and_no_other(rows: str, threshold: float) -> None:
    vectors = {
        "text_like": lambda: text_like(400),
        "random": lambda: random_rows(300),
        "few numbers": lambda: random_rows(300, width=8),
        "many numbers": lambda: text_like(200, width=1_024),
    }[rows]()
    assert_same(similar_pairs(vectors, threshold=threshold), by_brute_force(vectors, threshold=threshold))


@pytest.mark.parametrize("threshold", [0.5, 0.92])
@pytest.mark.usefixtures("way")
def test_all_pairs_on_a_processor_without_bfloat16(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketches, "product_dtype", lambda: torch.float32)
    vectors = text_like(300)
    assert_same(similar_pairs(vectors, threshold=threshold), by_brute_force(vectors, threshold=threshold))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.8])
@pytest.mark.usefixtures("way")
def test_pairs_with_a_new_row_are_those_of_the_full_search(share: float, threshold: float) -> None:
    vectors = text_like(300)
    is_new = np.random.default_rng(1).random(300) < share
    found = similar_pairs(vectors, threshold=threshold, is_new=is_new)
    assert_same(found, by_brute_force(vectors, threshold=threshold, is_new=is_new))
    full = similar_pairs(vectors, threshold=threshold)
    kept = is_new[full.first] | is_new[full.second]
    assert np.array_equal(found.first, full.first[kept])
    assert np.array_equal(found.second, full.second[kept])


@pytest.mark.usefixtures("way")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 80), threshold=st.floats(-1, 0.999))
def test_another_order_of_the_rows_gives_the_same_pairs(seed: int, count: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = text_like(count, width=int(rng.choice([4, 130, 384])), topics=3, seed=seed)
    order = rng.permutation(count)
    found, permuted = similar_pairs(vectors, threshold=threshold), similar_pairs(vectors[order], threshold=threshold)
    one, other = order[permuted.first], order[permuted.second]
    back = np.lexsort([np.minimum(one, other), np.maximum(one, other)])
    assert np.array_equal(np.minimum(one, other)[back], found.first)
    assert np.array_equal(np.maximum(one, other)[back], found.second)
    assert np.array_equal(permuted.similarity[back], found.similarity)


@pytest.mark.usefixtures("way")
def test_the_threshold_itself_is_not_above_the_threshold() -> None:
    """Halves are float16 numbers, so that these cosines are exactly 0.5."""
    vectors = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, -0.5]], dtype=np.float16)
    assert len(similar_pairs(vectors, threshold=0.5)) == 0
    below = similar_pairs(vectors, threshold=np.nextafter(0.5, 0))
    assert below.first.tolist() == [0, 0, 1]
    assert below.second.tolist() == [1, 2, 2]
    assert below.similarity.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.usefixtures("way")
def test_cosines_of_stored_rows_decide_although_rounding_made_them_longer_or_shorter() -> None:
    """Scaled by 0.999 or 1.001, as rounding to float16 may, rows have the cosines that they had."""
    vectors = text_like(400).astype(np.float64) * np.random.default_rng(0).uniform(0.999, 1.001, size=(400, 1))
    rounded = vectors.astype(np.float16)
    assert_same(similar_pairs(rounded, threshold=0.92), by_brute_force(rounded, threshold=0.92))


@pytest.mark.usefixtures("way")
def test_equal_rows_are_similar_at_every_threshold() -> None:
    vectors = np.repeat(random_rows(5), 3, axis=0)
    found = similar_pairs(vectors, threshold=np.nextafter(1, 0))
    assert found.first.tolist() == [0, 0, 1, 3, 3, 4, 6, 6, 7, 9, 9, 10, 12, 12, 13]
    assert found.second.tolist() == [1, 2, 2, 4, 5, 5, 7, 8, 8, 10, 11, 11, 13, 14, 14]
    assert (found.similarity == 1).all()


@pytest.mark.parametrize("threshold", [-1.0, -0.5, 0.5])
@pytest.mark.usefixtures("way")
def test_rows_without_a_direction_are_similar_to_nothing(threshold: float) -> None:
    vectors = text_like(60)
    vectors[[0, 17, 59]] = 0
    vectors[20, 3], vectors[30, 5], vectors[40] = np.nan, np.inf, -np.inf
    found = similar_pairs(vectors, threshold=threshold)
    assert not np.isin([0, 17, 59, 20, 30, 40], [found.first, found.second]).any()
    assert_same(found, by_brute_force(vectors, threshold=threshold))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.usefixtures("way")
def test_fewer_than_two_rows_have_no_pair(count: int) -> None:
    found = similar_pairs(random_rows(2)[:count], threshold=-1)
    assert (len(found), found.complete) == (0, True)
    assert [each.dtype.name for each in (found.first, found.second, found.similarity)] == ["int32", "int32", "float32"]


@pytest.mark.usefixtures("way")
def test_rows_that_are_all_zero_have_no_pair() -> None:
    assert len(similar_pairs(np.zeros((9, 384), dtype=np.float16), threshold=-1)) == 0


@pytest.mark.parametrize("threshold", [1.0, -1.01, float("nan")])
def test_a_threshold_that_no_cosine_can_have_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold: got .*, allowed -1 up to but not 1"):
        similar_pairs(random_rows(2), threshold=threshold)


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="is_new: got 3 rows, allowed 2, as many as vectors"):
        similar_pairs(random_rows(2), threshold=0.5, is_new=np.ones(3, dtype=np.bool_))


@pytest.mark.usefixtures("way")
def test_vectors_that_cannot_be_written_are_searched_and_stay_as_they_are() -> None:
    vectors = text_like(100)
    before = vectors.copy()
    vectors.flags.writeable = False
    assert len(similar_pairs(vectors, threshold=0.5)) > 0
    assert np.array_equal(vectors, before)


@pytest.mark.usefixtures("way")
def test_progress_rises_to_the_rows_that_had_to_be_compared() -> None:
    heard: list[int] = []
    similar_pairs(text_like(400), threshold=0.8, on_progress=heard.append)
    assert len(heard) > 1
    assert heard == sorted(heard)
    assert heard[-1] == 400


@pytest.mark.usefixtures("way")
def test_a_crowd_keeps_the_best_ranked_partners_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 2_000)
    monkeypatch.setattr(pairs, "MOST_PARTNERS", 3)
    monkeypatch.setattr(comparison, "CROWDED_TILE_ROWS", 20)
    vectors = np.concatenate([crowd(250), text_like(300), crowd(250, seed=1)])
    vectors = vectors[np.random.default_rng(2).permutation(len(vectors))]
    full = by_brute_force(vectors, threshold=0.92)
    assert len(full) > 60_000
    found = similar_pairs(vectors, threshold=0.92)
    place = np.arange(len(full)) - np.searchsorted(full.second, full.second)
    assert not found.complete
    assert np.array_equal(found.second, full.second[place < 3])
    assert np.array_equal(found.first, full.first[place < 3])
    assert np.array_equal(found.similarity, full.similarity[place < 3])


@pytest.mark.usefixtures("way")
def test_as_many_pairs_as_are_allowed_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = crowd(60)
    monkeypatch.setattr(pairs, "MOST_PAIRS", 60 * 59 // 2)
    found = similar_pairs(vectors, threshold=0.92)
    assert_same(found, by_brute_force(vectors, threshold=0.92))
    monkeypatch.setattr(pairs, "MOST_PAIRS", 60 * 59 // 2 - 1)
    assert not similar_pairs(vectors, threshold=0.92).complete


@pytest.mark.usefixtures("way")
def test_what_a_crowd_has_found_spares_most_of_its_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 equal rows make a million pairs, of which the first tiles' are enough."""
    monkeypatch.setattr(pairs, "MOST_PAIRS", 20_000)
    monkeypatch.setattr(comparison, "CROWDED_TILE_ROWS", 100)
    seen = 0
    wants = pairs.PairCollector.wants

    def count(self: pairs.PairCollector, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += len(first)
        return wants(self, first, second)

    monkeypatch.setattr(pairs.PairCollector, "wants", count)
    found = similar_pairs(np.repeat(random_rows(1), 1_500, axis=0), threshold=0.92)
    assert len(found) == 64 * 1_500 - 64 * 65 // 2
    assert seen < 400_000


def test_cells_are_chosen_where_there_is_enough_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(cells.Cells, "compare", lambda *_, **__: compared.append("cells"))
    monkeypatch.setattr(search, "compare_blocks", lambda *_, **__: compared.append("blocks"))
    monkeypatch.setattr(search, "CELL_COST", 10)
    tight = stored(np.repeat(np.eye(384)[:40], 60, axis=0) + np.random.default_rng(0).normal(size=(2_400, 384)) / 1e3)
    similar_pairs(tight, threshold=0.9)
    similar_pairs(tight, threshold=0.9, is_new=np.arange(2_400) < 20)
    similar_pairs(tight[:30], threshold=0.9)
    # Rows in all directions are near every border.
    similar_pairs(random_rows(2_400), threshold=0.5)
    assert compared == ["cells", "blocks", "blocks", "blocks"]


@pytest.mark.usefixtures("way")
def test_rows_on_both_sides_of_a_border_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells with the border at 45 degrees: pairs straddle it at all distances up to what is similar."""
    monkeypatch.setattr(cells, "_centres", lambda rows, count: torch.eye(2, dtype=rows.dtype))
    monkeypatch.setattr(search, "cell_count", lambda size: 2)
    vectors = at_angles(*np.linspace(5, 85, 401))
    for threshold in (0.92, 0.9999):
        assert_same(similar_pairs(vectors, threshold=threshold), by_brute_force(vectors, threshold=threshold))


@pytest.mark.parametrize(("size", "count"), [(100, 100), (500, 128), (10_000, 400), (5_000_000, 4_096)])
def test_more_rows_have_more_cells(size: int, count: int) -> None:
    assert cells.cell_count(size) == count


def test_importing_the_package_leaves_pytorch_out() -> None:
    code = "import sys, maintenance.similarity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
