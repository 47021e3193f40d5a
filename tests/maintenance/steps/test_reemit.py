"""Older pairs are offered to training again: within the budget, once a night, never against a person's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance.journal import change_rows
from maintenance.models import RowChange
from maintenance.night import Night, StepOutcome
from maintenance.reemission import pick
from maintenance.steps import reemit as step
from maintenance.steps.reemit import reemit
from maintenance.undo import undo
from memory.models import PreferencePair, SftPair
from tests.maintenance import nights
from tests.maintenance.test_unlearned import trained
from tests.memory import rows

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
USED: dict[str, Any] = {"is_used": True, "used_timestamp": LONG_AGO, "training_epoch": 2}


def night(now: datetime = NOW, *, examples: int = 5, **rule: Any) -> Night:
    return nights.night(
        "reemit",
        of=nights.run(started_at=now),
        now=now,
        reemit={"budget": 2, **rule},
        report={"examples": examples},
    )


def used_pair(**fields: Any) -> SftPair:
    return rows.sft_pair(**{"reward_intensity": 0.9, **USED, **fields})


def used_preference(number: int = 0, **fields: Any) -> PreferencePair:
    return rows.preference_pair(**{"chosen": f"Hello {number}.", "margin": 0.9, **USED, **fields})


def free() -> set[int]:
    """Return the keys of the memory pairs that training may take."""
    return set(SftPair.objects.unused().values_list("pk", flat=True))


def test_the_use_is_cleared_and_its_time_and_epoch_stay() -> None:
    pair, preference = used_pair(), used_preference()

    outcome = reemit(night())

    assert outcome.counts == {"sft_reemitted": 1, "preference_reemitted": 1, "did_not_stick": 0}
    for row in (SftPair.objects.get(), PreferencePair.objects.get()):
        assert (row.is_used, row.used_timestamp, row.training_epoch) == (False, LONG_AGO, 2)
    assert set(RowChange.objects.values_list("table", "row_id", "step")) == {
        ("memory.sftpair", pair.pk, "reemit"),
        ("memory.preferencepair", preference.pk, "reemit"),
    }
    assert list(RowChange.objects.values_list("before", "after")) == [({"is_used": True}, {"is_used": False})] * 2


def test_each_channel_has_the_budget_and_the_best_pairs_come_first() -> None:
    pairs = [used_pair(reward_intensity=reward) for reward in (0.75, 0.95, 0.85)]
    for number in range(3):
        used_preference(number)
    outcome = reemit(night())
    assert (outcome.counts["sft_reemitted"], outcome.counts["preference_reemitted"]) == (2, 2)
    assert free() == {pairs[1].pk, pairs[2].pk}


@pytest.mark.parametrize(
    "fields",
    [
        {"review_status": "rejected"},
        {"review_status": "rejected", "reward_intensity": 1.0},
        {"archived_at": NOW},
        {"sampling_weight": 0.0},
        {"reward_intensity": 0.69},
        {"used_timestamp": NOW - timedelta(days=13, hours=23)},
        {"review_status": "approved", "used_timestamp": NOW - timedelta(days=13)},
    ],
)
def test_what_is_out_of_training_poor_or_not_rested_stays(fields: dict[str, Any]) -> None:
    used_pair(**fields)
    assert reemit(night()).counts["sft_reemitted"] == 0
    assert free() == set()


def test_a_merged_pair_stays() -> None:
    survivor = rows.sft_pair()
    merged = used_pair(merged_into=survivor)
    reemit(night())
    assert merged.pk not in free()


@pytest.mark.parametrize(
    "fields",
    [
        {"reward_intensity": 0.7},
        {"reward_intensity": 0.1, "review_status": "approved"},
        {"used_timestamp": NOW - timedelta(days=14)},
    ],
)
def test_what_is_good_enough_or_approved_and_rested_is_taken(fields: dict[str, Any]) -> None:
    pair = used_pair(**fields)
    reemit(night())
    assert free() == {pair.pk}


def test_pairs_that_did_not_stick_come_before_better_ones() -> None:
    better = [used_pair(reward_intensity=1.0) for _ in range(2)]
    unlearned = used_pair(reward_intensity=0.7)
    tired = used_pair(used_timestamp=NOW)
    trained(*better, unlearned, tired, unlearned=[unlearned.pk, tired.pk])
    outcome = reemit(night(budget=1))
    assert free() == {unlearned.pk}
    assert outcome.counts["did_not_stick"] == 1
    assert outcome.details["examples"][0]["did_not_stick"] is True


def test_the_choice_is_spread_over_topics_and_fills_the_emptier_ones() -> None:
    crowded = [used_pair(reward_intensity=1.0) for _ in range(3)]
    rare = used_pair(reward_intensity=0.7)
    for pair in crowded:
        rows.embedding(pair, cluster=0)
    rows.embedding(rare, cluster=1)
    reemit(night())
    assert free() == {crowded[0].pk, rare.pk}


def test_unused_pairs_of_a_topic_count_as_covered() -> None:
    for cluster, unused in ((0, 5), (1, 0)):
        for _ in range(unused):
            rows.embedding(rows.sft_pair(), cluster=cluster)
    # Out of training, they cover nothing.
    for _ in range(9):
        rows.embedding(rows.sft_pair(review_status="rejected"), cluster=1)
    before = free()
    best, rare = used_pair(reward_intensity=1.0), used_pair(reward_intensity=0.7)
    rows.embedding(best, cluster=0)
    rows.embedding(rare, cluster=1)
    reemit(night(budget=1))
    assert free() - before == {rare.pk}


@pytest.mark.parametrize("hours", [0, 1, -1, 19])
def test_a_second_night_re_emits_nothing_more_whichever_way_the_clock_was_set(hours: int) -> None:
    for _ in range(6):
        used_pair()
    reemit(night())
    before = free()
    assert reemit(night(NOW + timedelta(hours=hours))).counts["sft_reemitted"] == 0
    assert free() == before


def test_the_night_after_has_a_budget_of_its_own() -> None:
    for _ in range(6):
        used_pair()
    reemit(night())
    assert reemit(night(NOW + timedelta(hours=24))).counts["sft_reemitted"] == 2
    assert len(free()) == 4


def test_what_a_killed_night_left_undone_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        used_pair()
    monkeypatch.setattr(step, "ROWS_PER_TRANSACTION", 1)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise SystemExit("killed")
        return change_rows(*arguments, **named)

    monkeypatch.setattr(step, "change_rows", dying)
    with pytest.raises(SystemExit):
        reemit(night(budget=3))
    assert len(free()) == 1
    monkeypatch.setattr(step, "change_rows", change_rows)
    assert reemit(night(budget=3)).counts["sft_reemitted"] == 2


def test_an_undone_night_gives_its_budget_back() -> None:
    for _ in range(6):
        used_pair()
    first = night()
    reemit(first)
    report = undo(first.run, artifacts=Path("/nowhere"), using="default")
    assert report.refused == []
    assert free() == set()
    assert reemit(night()).counts["sft_reemitted"] == 2


def test_the_budgets_of_the_channels_are_counted_apart() -> None:
    used_pair()
    reemit(night(budget=1))
    used_preference()
    assert reemit(night(budget=1)).counts["preference_reemitted"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"review_status": "rejected"},
        {"used_timestamp": NOW},
        {"is_used": False},
        {"archived_at": NOW},
    ],
)
def test_what_changed_while_it_was_chosen_is_left_alone(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, other = used_pair(), used_pair()

    def picked(*arguments: Any, **named: Any) -> list[int]:
        found = pick(*arguments, **named)
        SftPair.objects.filter(pk=pair.pk).update(**change)
        return found

    monkeypatch.setattr(step, "pick", picked)
    outcome = reemit(night())
    assert outcome.counts["sft_reemitted"] == 1
    assert [example["pair"] for example in outcome.details["examples"]] == [other.pk]
    assert set(RowChange.objects.values_list("row_id", flat=True)) == {other.pk}


def test_a_budget_of_nothing_skips_the_step() -> None:
    used_pair()
    assert reemit(night(budget=0)) == StepOutcome(skipped="reemit.budget is 0")


def test_the_report_gets_examples_of_each_channel() -> None:
    pair = used_pair(instruction="What is my dog called?" + "!" * 200, review_status="approved")
    rows.embedding(pair, cluster=4)
    preference = used_preference()
    used_pair(reward_intensity=0.8)
    examples = reemit(night(examples=1)).details["examples"]
    assert examples == [
        {
            "kind": "re-emitted",
            "about": f"sft pair {pair.pk}, reward 0.90, approved",
            "texts": [pair.instruction[:120]],
            "channel": "sft",
            "pair": pair.pk,
            "reward": 0.9,
            "review_status": "approved",
            "cluster": 4,
            "did_not_stick": False,
        },
        {
            "kind": "re-emitted",
            "about": f"preference pair {preference.pk}, reward 0.90, pending",
            "texts": ["Hello 0."],
            "channel": "preference",
            "pair": preference.pk,
            "reward": 0.9,
            "review_status": "pending",
            "cluster": None,
            "did_not_stick": False,
        },
    ]


PAIRS = st.lists(
    st.fixed_dictionaries(
        {
            "review_status": st.sampled_from(["pending", "approved", "rejected"]),
            "reward_intensity": st.sampled_from([0.0, 0.5, 0.7, 1.0]),
            "archived_at": st.sampled_from([None, None, LONG_AGO]),
            "used_timestamp": st.sampled_from([LONG_AGO, NOW]),
            "is_used": st.booleans(),
        }
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=PAIRS, budget=st.integers(1, 4))
def test_no_rejected_pair_is_ever_re_emitted_and_the_budget_holds(pairs: list[dict[str, Any]], budget: int) -> None:
    with transaction.atomic():
        made = [rows.sft_pair(training_epoch=0, **fields) for fields in pairs]
        before = free()
        chosen = night(budget=budget)
        count = reemit(chosen).counts["sft_reemitted"]
        again = reemit(replace(chosen, run=nights.run(started_at=NOW))).counts["sft_reemitted"]
        reemitted = SftPair.objects.filter(pk__in=free() - before)
        assert len(reemitted) == count <= budget
        assert again == 0
        assert not reemitted.filter(review_status="rejected").exists()
        assert all(
            pair.review_status == "approved" or pair.reward_intensity >= 0.7 for pair in made if pair in reemitted
        )
        transaction.set_rollback(True)
