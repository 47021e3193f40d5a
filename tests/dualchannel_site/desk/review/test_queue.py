"""In which order pairs wait, and which ones do."""

from datetime import UTC, datetime
from itertools import count as counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import DjangoAssertNumQueries

from dualchannel_site.desk.review import queue
from dualchannel_site.desk.review.channels import CHANNELS
from dualchannel_site.desk.review.queue import Group, Waiting, load_queue
from maintenance.models import Proposal
from memory.models import PreferencePair, SftPair
from tests.memory import rows
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

MEMORY = CHANNELS["memory"]
NUMBERS = counter()
LONG_AGO = datetime(2026, 5, 1, tzinfo=UTC)


def preference(number: int, **fields: Any) -> PreferencePair:
    return rows.preference_pair(chosen=f"Answer {number}.", **fields)


def order(name: str = "memory") -> list[int]:
    """Return the pairs in the order in which a person who skips each one sees them."""
    seen: list[int] = []
    while (found := load_queue(CHANNELS[name], skipped=seen).next_pk) is not None:
        seen.append(found)
    return seen


def propose(newer: SftPair, older: SftPair, **fields: Any) -> Proposal:
    values = {"kind": "correction", "similarity": 0.95, "reason": "names", **fields}
    return Proposal.objects.create(sft_pair=newer, other_sft_pair=older, **values)


def did_not_stick(*, status: str = "succeeded", **pairs: list[int]) -> TrainingRun:
    return TrainingRun.objects.create(
        config_path="run.yaml", config={}, status=status, evaluation={"did_not_stick": pairs}
    )


def flagged(**fields: Any) -> SftPair:
    talk = rows.conversation(f"flagged {next(NUMBERS)}")
    answer = rows.message(talk)
    rows.replay_entry(message=answer, safety_flags=["insult"])
    return rows.sft_pair(conversation=talk, assistant_message=answer, **fields)


def test_the_highest_reward_is_first_and_among_equals_the_newest() -> None:
    low, first, second, high = (rows.sft_pair(reward_intensity=reward) for reward in (0.2, 0.5, 0.5, 0.9))
    assert order() == [high.pk, second.pk, first.pk, low.pk]


def test_the_widest_margin_is_first_among_preferences() -> None:
    narrow, wide, newest = (preference(number, margin=margin) for number, margin in enumerate((0.1, 0.8, 0.1)))
    assert order("preference") == [wide.pk, newest.pk, narrow.pk]


def test_proposals_come_before_what_did_not_stick_before_what_is_flagged_before_the_rest() -> None:
    rest = rows.sft_pair(reward_intensity=1.0)
    care = flagged(reward_intensity=0.1)
    unlearned = rows.sft_pair(reward_intensity=0.1)
    did_not_stick(sft=[unlearned.pk], preference=[])
    older = rows.sft_pair(reward_intensity=0.3)
    proposed = rows.sft_pair(reward_intensity=0.1)
    propose(proposed, older)
    assert order() == [proposed.pk, unlearned.pk, care.pk, rest.pk, older.pk]
    assert load_queue(MEMORY).groups == {
        proposed.pk: Group.PROPOSED,
        unlearned.pk: Group.UNLEARNED,
        care.pk: Group.FLAGGED,
    }


def test_within_a_group_the_reward_decides() -> None:
    low, high = rows.sft_pair(reward_intensity=0.2), rows.sft_pair(reward_intensity=0.7)
    newest = rows.sft_pair(reward_intensity=0.2)
    did_not_stick(sft=[low.pk, newest.pk, high.pk], preference=[])
    assert order() == [high.pk, newest.pk, low.pk]


def test_a_pair_of_two_groups_waits_once_and_in_the_first() -> None:
    pair = flagged()
    did_not_stick(sft=[pair.pk], preference=[])
    found = load_queue(MEMORY)
    assert [each.count for each in found.waiting] == [0, 1, 0, 0]
    assert order() == [pair.pk]


def test_preferences_have_the_same_groups() -> None:
    talk = rows.conversation()
    answer = rows.message(talk)
    rows.replay_entry(message=answer, safety_flags=["insult"])
    rest = preference(0, margin=1.0)
    chosen, rejected = preference(1, chosen_message=answer), preference(2, rejected_message=answer)
    unlearned = preference(3)
    did_not_stick(sft=[], preference=[unlearned.pk])
    proposed = preference(4)
    Proposal.objects.create(
        kind="correction", similarity=0.9, reason="", preference_pair=proposed, other_preference_pair=rest
    )
    assert order("preference") == [proposed.pk, unlearned.pk, rejected.pk, chosen.pk, rest.pk]


def test_only_the_last_successful_run_says_what_did_not_stick() -> None:
    first, second, third = (rows.sft_pair(reward_intensity=0.1 * number) for number in (1, 2, 3))
    did_not_stick(sft=[first.pk], preference=[])
    did_not_stick(sft=[second.pk], preference=[])
    did_not_stick(sft=[first.pk], preference=[], status="failed")
    assert order() == [second.pk, third.pk, first.pk]


def test_a_run_of_an_older_version_says_nothing() -> None:
    pair = rows.sft_pair()
    TrainingRun.objects.create(config_path="run.yaml", config={}, status="succeeded", evaluation={})
    assert order() == [pair.pk]


def test_what_is_decided_about_a_proposal_is_no_reason_to_wait_in_front() -> None:
    older, newer = rows.sft_pair(reward_intensity=0.9), rows.sft_pair(reward_intensity=0.1)
    propose(newer, older, status="dismissed")
    assert order() == [older.pk, newer.pk]


@pytest.mark.parametrize(
    "fields",
    [
        {"review_status": "approved"},
        {"review_status": "rejected"},
        {"archived_at": LONG_AGO},
        {"sampling_weight": 0},
        {"reward_intensity": 0},
    ],
)
def test_what_is_decided_or_cannot_be_trained_does_not_wait(fields: dict[str, Any]) -> None:
    waiting = rows.sft_pair(reward_intensity=0.1)
    other = rows.sft_pair(**fields)
    propose(other, waiting)
    did_not_stick(sft=[other.pk], preference=[])
    assert order() == [waiting.pk]


def test_neither_does_what_is_merged_away_or_has_no_consent() -> None:
    waiting = rows.sft_pair()
    rows.sft_pair(merged_into=waiting)
    rows.sft_pair(conversation=rows.conversation(training_allowed=False))
    assert order() == [waiting.pk]


def test_a_skipped_pair_waits_still_and_is_counted() -> None:
    first, second = rows.sft_pair(reward_intensity=0.2), rows.sft_pair(reward_intensity=0.1)
    decided = rows.sft_pair(review_status="approved")
    found = load_queue(MEMORY, skipped=[first.pk, decided.pk])
    assert (found.next_pk, found.skipped, found.waiting[-1].count) == (second.pk, 1, 1)
    both = load_queue(MEMORY, skipped=[first.pk, second.pk])
    assert (both.next_pk, both.skipped) == (None, 2)


def test_the_rest_is_counted_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "COUNT_LIMIT", 3)
    for _ in range(3):
        rows.sft_pair()
    assert load_queue(MEMORY).waiting[-1] == Waiting(Group.OTHER, 3, is_more=False)
    rows.sft_pair()
    assert load_queue(MEMORY).waiting[-1].shown == "3+"


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("count", [3, 30])
def test_it_takes_as_many_queries_for_few_pairs_as_for_many(
    name: str, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pairs = [rows.sft_pair() for _ in range(count)]
    for newer, older in pairwise(pairs):
        propose(newer, older)
        flagged()
        preference(newer.pk)
    did_not_stick(sft=[pair.pk for pair in pairs], preference=[])
    with django_assert_num_queries(6):
        load_queue(CHANNELS[name], skipped=[pair.pk for pair in pairs[:2]])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.5, 1.0]),
            st.sampled_from(["pending", "pending", "approved", "rejected"]),
            st.sampled_from(["", "", "proposed", "unlearned"]),
        ),
        max_size=8,
    )
)
def test_the_queue_is_each_waiting_pair_once_in_order(made: list[tuple[float, str, str]]) -> None:
    SftPair.objects.all().delete()
    TrainingRun.objects.all().delete()
    older = rows.sft_pair(review_status="approved")
    expected, unlearned = [], []
    for reward, status, group in made:
        pair = rows.sft_pair(reward_intensity=reward, review_status=status)
        if group == "proposed":
            propose(pair, older)
        if group == "unlearned":
            unlearned.append(pair.pk)
        if status == "pending" and reward > 0:
            place = ["proposed", "unlearned", ""].index(group)
            expected.append((place, -reward, -pair.pk))
    did_not_stick(sft=unlearned, preference=[])
    assert order() == [-key for _place, _reward, key in sorted(expected)]
