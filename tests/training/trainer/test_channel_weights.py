"""How much each channel's loss counts."""

from typing import Any

import pytest

from training.config import TrainingConfig
from training.sampling.plan import Channel
from training.trainer.channel_weights import ChannelWeights


def weights(**changes: Any) -> ChannelWeights:
    return ChannelWeights(TrainingConfig.model_validate({"model_name_or_path": "any", **changes}))


BOTH: tuple[Channel, ...] = ("sft", "preference")


def fed(given: ChannelWeights, *, sft: list[float], preference: list[float]) -> ChannelWeights:
    for loss in sft:
        given.observe("sft", loss)
    for loss in preference:
        given.observe("preference", loss)
    return given


def test_without_options_a_loss_counts_as_it_is() -> None:
    given = fed(weights(), sft=[3.0] * 30, preference=[0.5] * 30)
    assert tuple(given.factor(channel, among=BOTH) for channel in BOTH) == (1.0, 1.0)


def test_in_a_mixed_run_a_loss_counts_by_its_channels_weight() -> None:
    given = weights(batch_mixing="mixed")
    assert tuple(given.factor(channel, among=BOTH) for channel in BOTH) == (0.4, 0.6)


@pytest.mark.parametrize("channel", BOTH)
def test_in_a_mixed_run_a_channel_alone_in_its_step_counts_whole(channel: Channel) -> None:
    assert weights(batch_mixing="mixed").factor(channel, among=(channel,)) == 1.0


def test_a_normalised_loss_is_divided_by_its_running_mean() -> None:
    given = weights(normalize_losses=True)
    assert given.lacks_magnitude("sft")
    given.begin("sft", 4.0)
    assert not given.lacks_magnitude("sft")
    assert given.scale("sft") == pytest.approx(1 / 4)
    given.observe("sft", 2.0)
    assert given.scale("sft") == pytest.approx(1 / (4.0 + 0.05 * (2.0 - 4.0)))


def test_what_is_learned_is_not_scaled_up_for_ever() -> None:
    given = weights(normalize_losses=True)
    given.begin("sft", 4.0)
    fed(given, sft=[1e-6] * 500, preference=[])
    assert given.scale("sft") == pytest.approx(1 / 0.4)


def test_weight_goes_to_the_channel_whose_loss_falls_less() -> None:
    """Preference stands still, memory halves: exp(1/2) 0.6 against exp(0.5/2) 0.4 is 0.658."""
    given = fed(weights(dynamic_weighting=True), sft=[2.0] * 10 + [1.0] * 10, preference=[1.0] * 20)
    assert given.weights()["preference"] == pytest.approx(0.6583, abs=1e-4)
    assert sum(given.weights().values()) == pytest.approx(1.0)


def test_preference_keeps_half_however_well_it_learns() -> None:
    given = fed(weights(dynamic_weighting=True), sft=[1.0] * 10 + [9.0] * 10, preference=[1.0] * 10 + [0.0] * 10)
    assert given.weights() == {"sft": 0.5, "preference": 0.5}


@pytest.mark.parametrize("returned", [0.02, 3.0])
def test_a_loss_that_returns_from_next_to_nothing_leaves_memory_its_part(returned: float) -> None:
    """Ten times or thousands of times what it was counts as twice: exp(2/2) 0.6 against exp(1/2) 0.4 is 0.712."""
    given = fed(weights(dynamic_weighting=True), sft=[1.0] * 20, preference=[2e-3] * 10 + [returned] * 10)
    assert given.weights() == pytest.approx({"sft": 0.288, "preference": 0.712}, abs=1e-3)


def test_weights_stay_until_both_channels_have_been_seen_often_enough() -> None:
    given = fed(weights(dynamic_weighting=True), sft=[2.0] * 10 + [1.0] * 10, preference=[1.0] * 19)
    assert given.weights() == {"sft": 0.4, "preference": 0.6}


def test_a_run_of_one_channel_has_nothing_to_move() -> None:
    given = weights(dynamic_weighting=True, sft_weight=0.0, preference_weight=1.0)
    assert not given.is_dynamic
    assert given.factor("preference", among=BOTH) == 1.0


def test_a_restored_state_goes_on_where_it_was() -> None:
    settings: dict[str, Any] = {"dynamic_weighting": True, "normalize_losses": True}
    first = weights(**settings)
    first.begin("sft", 4.0)
    first.begin("preference", 0.7)
    fed(first, sft=[2.0] * 10 + [1.0] * 10, preference=[1.0] * 20)
    second = weights(**settings)
    second.restore(first.state())
    assert second.factor("sft", among=BOTH) == first.factor("sft", among=BOTH) != 1.0
    assert second.weights() == first.weights()
