"""Collapse of drafts that say the same."""

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory import rules
from memory.embeddings import Vectors
from memory.extraction.drafts import best_first, drop_exact_duplicates, drop_similar
from memory.extraction.turns import TurnMessage
from tests.memory.extraction.messages import BEGIN, message, rated


def at_angles(*degrees: float) -> Vectors:
    """Return unit vectors in the plane, shape (len(degrees), 2)."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def ids(drafts: Sequence[TurnMessage]) -> list[int]:
    return [draft.id for draft in drafts]


@st.composite
def drafts_and_angles(draw: st.DrawFn) -> tuple[list[TurnMessage], list[float]]:
    """Drafts with many ties in reward, loss, time and text, and the directions of their vectors."""
    count = draw(st.integers(1, 8))
    drafts = [
        message(
            key,
            content=draw(st.sampled_from(["Hello.", "hello.", "Good day.", "Bye."])),
            reward_intensity=draw(st.sampled_from([0.0, 0.5, 1.0])),
            loss=draw(st.sampled_from([None, 0.5, 2.0])),
            created_at=BEGIN + timedelta(minutes=draw(st.integers(0, 2))),
        )
        for key in range(count)
    ]
    return drafts, draw(st.lists(st.floats(0, 90), min_size=count, max_size=count))


def test_the_highest_reward_survives() -> None:
    selection = drop_similar([rated(2, 0.4), rated(3, 0.9), rated(4, 0.5)], at_angles(0, 1, 2))

    assert ids(selection.kept) == [3]
    assert {drop.draft.id: drop.survivor.id for drop in selection.dropped} == {2: 3, 4: 3}


def test_with_equal_rewards_the_lowest_loss_survives_and_none_comes_last() -> None:
    drafts = [message(2, loss=None), message(3, loss=1.5), message(4, loss=0.5)]

    assert ids(sorted(drafts, key=best_first)) == [4, 3, 2]


def test_with_equal_rewards_and_losses_the_newest_survives() -> None:
    assert ids(sorted([message(2), message(9), message(4)], key=best_first)) == [9, 4, 2]


def test_a_reward_outweighs_loss_and_time() -> None:
    drafts = [rated(2, 0.8, loss=9.0), rated(3, 0.7, loss=0.1)]

    assert ids(sorted(drafts, key=best_first)) == [2, 3]


def test_similarity_has_to_be_strictly_above_the_threshold() -> None:
    limit = rules.DRAFT_SIMILARITY_THRESHOLD
    at = np.array([[1, 0], [limit, math.sqrt(1 - limit**2)]], dtype=np.float32)
    above = np.array([[1, 0], [limit + 1e-4, math.sqrt(1 - (limit + 1e-4) ** 2)]], dtype=np.float32)
    drafts = [message(2), message(3)]

    assert ids(drop_similar(drafts, at).kept) == [3, 2]
    assert ids(drop_similar(drafts, above).kept) == [3]


def test_a_drop_says_why_against_what_and_how_alike() -> None:
    (drop,) = drop_similar([rated(2, 1.0), rated(3, 0.0)], at_angles(0, 10)).dropped

    assert (drop.draft.id, drop.survivor.id, drop.reason) == (3, 2, "similar")
    assert drop.similarity == pytest.approx(math.cos(math.radians(10)))


def test_a_chain_of_small_steps_does_not_collapse_to_one() -> None:
    # Each is within 23 degrees (cosine 0.92) of the next; the ends are 40 degrees apart.
    drafts = [rated(2, 0.9), rated(3, 0.8), rated(4, 0.7)]
    selection = drop_similar(drafts, at_angles(0, 20, 40))

    assert ids(selection.kept) == [2, 4]


def test_a_draft_that_stands_is_kept_and_takes_in_a_better_one() -> None:
    selection = drop_similar([rated(2, 0.1), rated(3, 1.0)], at_angles(0, 1), standing={2})

    assert ids(selection.kept) == [2]
    assert ids([drop.draft for drop in selection.dropped]) == [3]


def test_two_drafts_that_stand_are_both_kept_however_alike() -> None:
    drafts = [rated(2, 0.1, content="Hi"), rated(3, 1.0, content="hi")]

    assert ids(drop_similar(drafts, at_angles(0, 0), standing={2, 3}).kept) == [3, 2]
    assert ids(drop_exact_duplicates(drafts, standing={2, 3}).kept) == [3, 2]


def test_exact_duplicates_are_found_whatever_their_case_and_spacing() -> None:
    drafts = [
        rated(2, 0.2, content="Pixel is  a dog."),
        rated(3, 0.9, content=" pixel is a DOG.\n"),
        rated(4, 0.1, content="Pixel is a cat."),
    ]
    selection = drop_exact_duplicates(drafts)

    assert ids(selection.kept) == [3, 4]
    assert [(drop.draft.id, drop.survivor.id, drop.reason) for drop in selection.dropped] == [(2, 3, "exact_duplicate")]


def test_there_must_be_one_vector_a_draft() -> None:
    with pytest.raises(ValueError, match=r"^vectors: got shape \(1, 2\), allowed \(2, dimension\)$"):
        drop_similar([message(2), message(3)], at_angles(0))


@given(drafts_and_angles(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_never_matters(found: tuple[list[TurnMessage], list[float]], random: object) -> None:
    drafts, angles = found
    order = list(range(len(drafts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    standing = {draft.id for draft in drafts if draft.id % 3 == 0}
    shuffled = [drafts[place] for place in order]

    assert drop_exact_duplicates(drafts, standing=standing) == drop_exact_duplicates(shuffled, standing=standing)
    assert drop_similar(drafts, at_angles(*angles), standing=standing) == drop_similar(
        shuffled, at_angles(*(angles[place] for place in order)), standing=standing
    )


@given(drafts_and_angles())
def test_no_draft_is_lost_and_no_group_becomes_empty(found: tuple[list[TurnMessage], list[float]]) -> None:
    drafts, angles = found
    vectors = at_angles(*angles)
    row = {draft.id: vector for draft, vector in zip(drafts, vectors, strict=True)}
    selection = drop_similar(drafts, vectors)

    assert sorted(ids(selection.kept) + ids([drop.draft for drop in selection.dropped])) == ids(drafts)
    assert selection.kept[0] == min(drafts, key=best_first)
    for drop in selection.dropped:
        assert drop.survivor in selection.kept
        assert drop.similarity > selection.threshold
        assert best_first(drop.survivor) < best_first(drop.draft)
    apart = [row[a.id] @ row[b.id] for a in selection.kept for b in selection.kept if a.id < b.id]
    assert all(similarity <= selection.threshold + 1e-6 for similarity in apart)
