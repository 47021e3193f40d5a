"""Which pairs did not stick: the word of the last successful run that used them."""

from __future__ import annotations

from typing import Any

import pytest

from maintenance.unlearned import unlearned_pairs
from memory.models import PreferencePair, SftPair
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


def trained(
    *used: SftPair | PreferencePair,
    unlearned: list[int] | None = None,
    status: str = TrainingRun.Status.SUCCEEDED,
    channel: str = "sft",
) -> TrainingRun:
    """Store a run with its ledger and its evaluation."""
    evaluation: dict[str, Any] = {} if unlearned is None else {"did_not_stick": {channel: unlearned}, "drift": 0.1}
    run = TrainingRun.objects.create(config_path="run.yaml", config={}, status=status, evaluation=evaluation)
    for step, pair in enumerate(used, start=1):
        owner = {"sft_pair": pair} if isinstance(pair, SftPair) else {"preference_pair": pair}
        PairUse.objects.create(run=run, step=step, epoch=0, weight=1.0, content_hash=pair.content_hash, **owner)
    return run


def test_a_run_says_which_of_its_pairs_did_not_stick() -> None:
    pairs = [rows.sft_pair() for _ in range(3)]
    trained(*pairs, unlearned=[pairs[0].pk, pairs[2].pk])
    assert unlearned_pairs("sft", using="default") == {pairs[0].pk, pairs[2].pk}
    assert unlearned_pairs("preference", using="default") == set()


def test_the_last_run_that_used_a_pair_decides() -> None:
    learned, relapsed = rows.sft_pair(), rows.sft_pair()
    trained(learned, relapsed, unlearned=[learned.pk])
    trained(learned, relapsed, unlearned=[relapsed.pk])
    assert unlearned_pairs("sft", using="default") == {relapsed.pk}


def test_a_pair_that_never_sticks_stays_one() -> None:
    pair = rows.sft_pair()
    trained(pair, unlearned=[pair.pk])
    trained(pair, unlearned=[pair.pk])
    assert unlearned_pairs("sft", using="default") == {pair.pk}


def test_a_later_run_of_other_pairs_says_nothing_about_it() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    trained(pair, unlearned=[pair.pk])
    trained(other, unlearned=[])
    assert unlearned_pairs("sft", using="default") == {pair.pk}


def test_a_run_that_left_no_adapter_says_nothing() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    trained(pair, unlearned=[pair.pk])
    trained(pair, status=TrainingRun.Status.FAILED)
    trained(other, unlearned=[other.pk], status=TrainingRun.Status.FAILED)
    assert unlearned_pairs("sft", using="default") == {pair.pk}


def test_a_run_without_such_an_evaluation_is_passed_over() -> None:
    pair = rows.sft_pair()
    trained(pair)
    assert unlearned_pairs("sft", using="default") == set()


def test_preference_pairs_have_their_own_list() -> None:
    pair = rows.preference_pair()
    trained(pair, unlearned=[pair.pk], channel="preference")
    assert unlearned_pairs("preference", using="default") == {pair.pk}
