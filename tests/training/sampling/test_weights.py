"""The groups of a pool share the draws as the config says."""

import numpy as np
import pytest

from training.sampling.weights import divided

GROUPS = ["curated", "drafts", "drafts", "drafts", "replay"]
WEIGHTS = np.array([1.0, 0.5, 0.25, 0.25, 0.1])


def shares_of(weights: np.ndarray) -> dict[str, float]:
    return {name: float(weights[np.array(GROUPS) == name].sum() / weights.sum()) for name in sorted(set(GROUPS))}


def test_the_draws_divide_as_the_shares_say() -> None:
    weights = divided(WEIGHTS, groups=GROUPS, shares={"curated": 2, "drafts": 1, "replay": 1})
    assert shares_of(weights) == pytest.approx({"curated": 0.5, "drafts": 0.25, "replay": 0.25})


def test_within_a_group_the_proportions_stay() -> None:
    weights = divided(WEIGHTS, groups=GROUPS, shares={"curated": 3, "drafts": 3, "replay": 3})
    assert weights[1:4] / weights[1] == pytest.approx([1.0, 0.5, 0.5])
    assert weights.max() == 1


def test_a_share_of_nothing_leaves_a_group_out() -> None:
    weights = divided(WEIGHTS, groups=GROUPS, shares={"curated": 0, "drafts": 1, "replay": 1})
    assert weights[0] == 0
    assert shares_of(weights) == pytest.approx({"curated": 0, "drafts": 0.5, "replay": 0.5})


def test_a_group_without_pairs_leaves_its_share_to_the_others() -> None:
    weights = divided(np.ones(2), groups=["drafts", "replay"], shares={"curated": 8, "drafts": 3, "replay": 1})
    assert weights / weights.sum() == pytest.approx([0.75, 0.25])


def test_nothing_but_groups_without_a_share_is_refused() -> None:
    message = r"^preference_shares: got 0 for all groups with pairs \(drafts, replay\), allowed one above 0$"
    with pytest.raises(ValueError, match=message):
        divided(np.ones(2), groups=["replay", "drafts"], shares={"curated": 1, "drafts": 0, "replay": 0})
