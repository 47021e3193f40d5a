"""What several processes do in a step, counted together."""

import pytest

from training.sampling.plan import PlannedBatch
from training.trainer.processes import is_divided, tokens_of_all

FOUR = PlannedBatch("sft", (0, 1, 2, 3), 0)
FIVE = PlannedBatch("preference", (0, 1, 2, 3, 4), 0)


def test_a_batch_is_divided_where_it_comes_out_even() -> None:
    assert is_divided(FOUR, processes=2)
    assert not is_divided(FIVE, processes=2)
    assert is_divided(FIVE, processes=1)


@pytest.mark.parametrize(
    ("batches", "processes", "tokens"),
    [((FOUR,), 1, 100), ((FOUR,), 2, 200), ((FIVE,), 2, 100), ((FOUR, FIVE), 2, 200), ((FIVE,), 5, 500)],
)
def test_the_tokens_of_all_processes_count(batches: tuple[PlannedBatch, ...], processes: int, tokens: float) -> None:
    assert tokens_of_all(100, batches, processes=processes) == tokens
