"""When a channel has learned what it can."""

from collections.abc import Sequence

from training.config.schema import EarlyStopping
from training.trainer.plateau import Plateaus


def plateaus(*, patience: int = 2) -> Plateaus:
    return Plateaus(EarlyStopping(every_steps=1, patience=patience, min_improvement=0.1))


def observed(values: Sequence[float | None], *, patience: int = 2) -> Plateaus:
    given = plateaus(patience=patience)
    for value in values:
        given.observe("sft", value)
    return given


def test_a_channel_that_improves_goes_on() -> None:
    assert not observed([0.1, 0.2, 0.3, 0.4]).stands_still("sft")


def test_a_channel_stands_still_after_so_many_measurements_without_gain() -> None:
    assert not observed([1.0, 1.0]).stands_still("sft")
    assert observed([1.0, 1.0, 1.0]).stands_still("sft")


def test_a_gain_too_small_to_count_is_none() -> None:
    assert observed([1.0, 1.05, 1.09]).stands_still("sft")


def test_a_gain_begins_the_count_anew() -> None:
    assert not observed([1.0, 1.0, 1.2, 1.2]).stands_still("sft")


def test_losses_are_compared_from_below() -> None:
    """Minus a loss: from -2 to -1.5 is a gain, from -1.5 to -1.45 is none."""
    assert not observed([-2.0, -1.5, -1.45]).stands_still("sft")
    assert observed([-2.0, -1.5, -1.45, -1.4]).stands_still("sft")


def test_a_recall_of_nothing_is_no_plateau() -> None:
    assert not observed([0.0] * 9).stands_still("sft")
    assert not observed([0.0] * 9 + [0.1, 0.1]).stands_still("sft")
    assert observed([0.0] * 9 + [0.1, 0.1, 0.1]).stands_still("sft")


def test_what_cannot_be_measured_never_stops() -> None:
    assert not observed([None] * 9).stands_still("sft")
    assert not plateaus().stands_still("preference")


def test_a_restored_state_goes_on_where_it_was() -> None:
    given = plateaus()
    given.restore(observed([1.0, 1.0]).state())
    given.observe("sft", 1.0)
    assert given.stands_still("sft")
