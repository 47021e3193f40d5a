"""What answers to one prompt say about each other."""

from datetime import timedelta

import pytest

from memory.extraction.preferences import (
    REPLAY_PAIRS_PER_PROMPT,
    Experience,
    Preference,
    near_identical,
    replay_preferences,
    turn_preferences,
)
from memory.extraction.turns import TurnMessage
from tests.memory.extraction.messages import BEGIN, message, rated


def found(*answers: TurnMessage, prefer_kept_branch: bool = True) -> list[tuple[str, int, int]]:
    preferences = turn_preferences(answers, prefer_kept_branch=prefer_kept_branch)
    return [(each.source, each.chosen_id, each.rejected_id) for each in preferences]


def experience(key: int, reward: float, conversation: int = 0) -> Experience:
    return Experience(key, conversation or key, "Hello?", f"answer {key}", reward, BEGIN + timedelta(days=key))


def preference(chosen: str, rejected: str) -> Preference:
    return Preference("rating", chosen, rejected, 1, 2, 1.0, 1.0, BEGIN)


def no_similarity(first: str, second: str) -> float:
    raise AssertionError(f"asked for the similarity of {first!r} and {second!r}")


def test_the_best_rated_draft_is_preferred_over_each_worse_one() -> None:
    assert found(rated(2, 0.2), rated(3, 0.9), rated(4, 0.5)) == [("rating", 3, 4), ("rating", 3, 2)]


def test_n_drafts_give_at_most_n_minus_one_rating_pairs() -> None:
    assert len(found(*(rated(key, key / 100) for key in range(2, 52)))) == 49


def test_the_margin_is_the_difference_of_the_rewards() -> None:
    (pair,) = turn_preferences([rated(2, 0.9), rated(3, 0.2)], prefer_kept_branch=True)

    assert pair.margin == pytest.approx(0.7)
    assert pair.created_at == BEGIN + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("better", "worse", "confidence"),
    [
        (rated(2, 1.0, rating=1), rated(3, 0.0, rating=-1), 1.0),  # thumb up against thumb down
        (rated(2, 0.9), rated(3, 0.1), 0.9),  # both observed, by degrees
        (rated(2, 1.0, rating=1), message(3, parent=1), 0.7),  # one observed
        (message(2, parent=1), rated(3, 0.0, rating=-1), 0.7),
    ],
)
def test_confidence_tells_how_much_was_observed(better: TurnMessage, worse: TurnMessage, confidence: float) -> None:
    (pair,) = turn_preferences([worse, better], prefer_kept_branch=True)

    assert (pair.chosen_id, pair.confidence) == (2, confidence)


def test_rewards_that_nobody_observed_are_no_rating() -> None:
    drafts = message(2, parent=1, reward_intensity=0.9), message(3, parent=1, reward_intensity=0.1)

    assert found(*drafts) == []


def test_the_kept_branch_is_preferred_over_the_abandoned_ones() -> None:
    drafts = [
        message(2, parent=1, is_active_branch=False),
        message(3, parent=1, is_active_branch=True),
        message(4, parent=1, is_active_branch=False),
    ]
    (first, second) = turn_preferences(drafts, prefer_kept_branch=True)

    assert {(each.source, each.chosen_id) for each in (first, second)} == {("regeneration", 3)}
    assert {first.rejected_id, second.rejected_id} == {2, 4}
    assert (first.confidence, first.margin) == (0.6, 0.0)


def test_the_setting_switches_the_kept_branch_off() -> None:
    drafts = message(2, parent=1, is_active_branch=False), message(3, parent=1)

    assert found(*drafts, prefer_kept_branch=False) == []


def test_a_rating_decides_where_the_person_went_on_from_the_worse_draft() -> None:
    drafts = rated(2, 0.9, is_active_branch=False), rated(3, 0.1, is_active_branch=True)

    assert found(*drafts) == [("rating", 2, 3)]


def test_drafts_that_are_chained_are_no_regeneration() -> None:
    assert found(message(2, parent=1), message(3, parent=2, is_active_branch=False)) == []


def test_siblings_of_which_several_are_on_the_active_branch_say_nothing() -> None:
    left_behind = message(4, parent=1, is_active_branch=False)

    assert found(message(2, parent=1), message(3, parent=1), left_behind) == []


def test_an_edited_answer_is_preferred_over_its_original() -> None:
    (pair,) = turn_preferences([message(2, content="Paris.", original_content="Lyon.")], prefer_kept_branch=True)

    assert (pair.source, pair.chosen, pair.rejected) == ("edit", "Paris.", "Lyon.")
    assert (pair.chosen_id, pair.rejected_id, pair.confidence, pair.margin) == (2, 2, 0.9, 0.0)


def test_an_original_that_only_looks_empty_is_no_edit() -> None:
    assert found(message(2, original_content="\u200b")) == []


def test_replay_entries_of_one_prompt_need_a_margin() -> None:
    # 0.7 - 0.4 is 0.29999999999999993 in binary, and still the margin.
    pairs = [pair for _, pair in replay_preferences([experience(2, 0.7), experience(3, 0.4), experience(4, 0.41)])]

    assert [(pair.source, pair.chosen_id, pair.rejected_id, pair.confidence) for pair in pairs] == [
        ("replay", 2, 3, 0.8)
    ]
    assert pairs[0].margin == pytest.approx(0.3)


def test_a_prompt_asked_every_day_gives_a_bounded_number_of_pairs_with_the_worst_first() -> None:
    entries = [experience(1, 1.0), *(experience(key, key / 1000) for key in range(2, 100))]
    pairs = [pair for _, pair in replay_preferences(entries)]

    assert [pair.rejected_id for pair in pairs] == list(range(2, 2 + REPLAY_PAIRS_PER_PROMPT))


def test_entries_of_one_conversation_are_left_to_the_rules_of_the_turn() -> None:
    entries = [experience(2, 1.0, conversation=7), experience(3, 0.0, conversation=7), experience(4, 0.5)]

    assert [pair.rejected_id for _, pair in replay_preferences(entries)] == [4]


def test_no_replay_entry_gives_no_pair() -> None:
    assert replay_preferences([]) == []


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Hello, you.", "hello   you"),
        ("“Well” - it's fine…", '"Well" - its fine'),
    ],
)
def test_answers_that_differ_in_case_spacing_and_punctuation_alone_are_near_identical(
    chosen: str, rejected: str
) -> None:
    assert near_identical(preference(chosen, rejected), no_similarity) is True


@pytest.mark.parametrize(("chosen", "rejected"), [("x = 3.5", "x = 35"), ("a += 1", "a -= 1"), ("a[0]", "a(0)")])
def test_marks_that_mean_something_in_numbers_and_code_are_kept(chosen: str, rejected: str) -> None:
    assert near_identical(preference(chosen, rejected), lambda first, second: 0.5) is False


def test_answers_above_the_threshold_are_near_identical_and_at_it_are_not() -> None:
    pair = preference("the dog sleeps", "the dog is asleep")

    assert near_identical(pair, lambda first, second: 0.93) is True
    assert near_identical(pair, lambda first, second: 0.92) is False


def test_answers_that_differ_in_a_fact_are_never_near_identical() -> None:
    pair = preference("My dog is called Pixel.", "My dog is called Biscuit.")

    assert near_identical(pair, no_similarity) is False
