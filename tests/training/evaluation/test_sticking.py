"""A pair did not stick where the run hardly moved it, unless it was known already."""

from dataclasses import dataclass

import pytest

from training.evaluation.sticking import KNOWN_LOSS, did_not_stick
from training.sampling.plan import Channel


@dataclass(frozen=True)
class PairChange:
    channel: Channel
    index: int
    before: float
    after: float


@pytest.mark.parametrize(
    ("before", "after", "stuck"),
    [
        (3.0, 0.4, True),  # learned
        (3.0, 2.6, True),  # on its way: a fall of 13 %
        (3.0, 2.8, False),  # a fall of 7 %
        (3.0, 3.2, False),  # worse than before
        (0.45, 0.44, True),  # known from the start
        (0.1, 0.6, False),  # was known, now forgotten
        (0.0, 0.7, False),
        (0.0, 0.0, True),
    ],
)
def test_a_memory_pair_sticks_by_its_fall_or_by_being_known(before: float, after: float, stuck: bool) -> None:
    change = PairChange("sft", 0, before, after)
    assert did_not_stick([change]) == (() if stuck else (change,))


def test_a_loss_at_the_threshold_is_known() -> None:
    assert did_not_stick([PairChange("sft", 0, KNOWN_LOSS, KNOWN_LOSS)]) == ()


@pytest.mark.parametrize(("margin", "stuck"), [(0.01, True), (0.0, False), (-0.3, False)])
def test_a_preference_pair_sticks_by_a_margin_over_nothing(margin: float, stuck: bool) -> None:
    change = PairChange("preference", 0, 0.0, margin)
    assert did_not_stick([change]) == (() if stuck else (change,))


def test_memory_comes_first_and_the_least_moved_before_the_rest() -> None:
    changes = [
        PairChange("preference", 0, 0.0, -0.1),
        PairChange("sft", 1, 3.0, 2.9),
        PairChange("preference", 2, 0.0, -0.5),
        PairChange("sft", 3, 3.0, 3.5),
    ]
    assert [change.index for change in did_not_stick(changes)] == [3, 1, 2, 0]
