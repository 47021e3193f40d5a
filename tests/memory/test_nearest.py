"""Which stored vectors lie nearest to that of a pair."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import DjangoAssertNumQueries

from memory import nearest as module
from memory.embeddings import to_bytes
from memory.models import PairEmbedding, PreferencePair, SftPair
from memory.nearest import Nearest, nearest
from tests.memory import rows

pytestmark = pytest.mark.django_db


def at(degrees: float, pair: SftPair | PreferencePair | None = None, **fields: Any) -> Any:
    """Store a pair whose vector has that angle; return it."""
    pair = pair or rows.sft_pair()
    owner = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    angle = np.radians(degrees)
    vector = to_bytes(np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))
    PairEmbedding.objects.create(**{owner: pair, "embedder": "tiny", "dimension": 2, "vector": vector, **fields})
    return pair


def found(result: Nearest) -> list[int]:
    return [each.pair_id for each in result.neighbours]


def test_the_most_similar_comes_first_with_its_cosine() -> None:
    pair, far, near, same = at(0), at(90), at(10), at(0)
    result = nearest(pair)
    assert found(result) == [same.pk, near.pk, far.pk]
    cosines = [each.similarity for each in result.neighbours]
    assert cosines == pytest.approx([1.0, np.cos(np.radians(10)), 0.0], abs=1e-3)
    assert (result.compared, result.complete, result.has_vector) == (3, True, True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(degrees=st.lists(st.integers(0, 359), min_size=1, max_size=12), limit=st.integers(1, 5))
def test_the_order_is_that_of_all_cosines(degrees: list[int], limit: int) -> None:
    PairEmbedding.objects.all().delete()
    pair, *others = [at(each) for each in degrees]
    cosines = {other.pk: np.cos(np.radians(degrees[0] - each)) for other, each in zip(others, degrees[1:], strict=True)}
    result = nearest(pair, limit=limit)
    assert len(result.neighbours) == min(limit, len(others))
    worst = min((cosines[pk] for pk in found(result)), default=1.0)
    assert all(cosine <= worst + 5e-3 for pk, cosine in cosines.items() if pk not in found(result))


def test_only_vectors_of_the_channel_and_the_embedder_are_compared() -> None:
    pair, other = at(0), at(5)
    at(1, embedder="another")
    at(1, pair=rows.preference_pair())
    assert found(nearest(pair)) == [other.pk]


def test_preferences_have_neighbours_too() -> None:
    pair, other = [at(angle, rows.preference_pair(chosen=f"Answer {angle}")) for angle in (0, 5)]
    at(1)
    assert found(nearest(pair)) == [other.pk]


def test_a_pair_without_a_vector_has_no_neighbours_and_says_so() -> None:
    at(0)
    assert nearest(rows.sft_pair()) == Nearest(has_vector=False)


def test_a_single_pair_has_no_neighbours() -> None:
    assert nearest(at(0)) == Nearest(compared=0, complete=True)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit: got {limit}, allowed 1 or more"):
        nearest(rows.sft_pair(), limit=limit)


def test_of_too_many_vectors_those_of_the_cluster_and_the_newest_without_one_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_COMPARED", 3)
    monkeypatch.setattr(module, "MOST_UNCLUSTERED", 1)
    pair = at(0, cluster=1)
    older, *cluster = [at(20, cluster=1) for _ in range(4)]
    at(1, cluster=2)
    at(1, cluster=None)
    new = at(30, cluster=None)
    result = nearest(pair)
    assert found(result) == [*(each.pk for each in cluster), new.pk]
    assert older.pk not in found(result)
    assert (result.compared, result.complete) == (4, False)


def test_of_too_many_vectors_a_pair_without_a_cluster_is_compared_with_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_COMPARED", 2)
    at(0)
    pair = at(0)
    newest = [at(10, cluster=1), at(20)]
    result = nearest(pair)
    assert found(result) == [each.pk for each in newest]
    assert not result.complete


def test_vectors_are_read_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2)
    pair, *others = [at(10 * number) for number in range(6)]
    result = nearest(pair)
    assert (found(result), result.compared) == ([each.pk for each in others], 5)


def test_the_number_of_queries_is_fixed(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pair = at(0, cluster=1)
    with django_assert_num_queries(3):
        nearest(pair)
    for angle in range(5):
        at(angle, cluster=1)
    with django_assert_num_queries(3):
        nearest(pair)
    monkeypatch.setattr(module, "MOST_COMPARED", 3)
    with django_assert_num_queries(4):
        nearest(pair)
