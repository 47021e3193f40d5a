"""The config's filters decide which rows are trained; the guards hold whatever it says."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from memory.models import ReviewStatus, SftPair
from tests.training.rows import conversation, preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.selection import NotEnoughPairs, select_preference, select_sft

pytestmark = pytest.mark.django_db


def config(**changes: Any) -> TrainingConfig:
    given = {"min_sft_pairs": 1, "min_preference_pairs": 1, "evaluation": {"validation_share": 0.0}}
    return TrainingConfig.model_validate({"model_name_or_path": "any", **given, **changes})


def trained(**filters: Any) -> set[int]:
    return {record.id for record in select_sft(config(sft_filters=filters)).train}


def test_a_pair_becomes_a_record_in_trls_words() -> None:
    context = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello."}]
    (pair,) = sft_pairs(1, context=context, reward_intensity=0.8, sampling_weight=0.5)
    (record,) = select_sft(config()).train
    assert record.id == pair.pk
    assert list(record.prompt) == [*context, {"role": "user", "content": "question 0"}]
    assert list(record.completion) == [{"role": "assistant", "content": "answer 0"}]
    assert record.weight == pytest.approx(0.4)
    assert record.content_hash == pair.content_hash


def test_a_preference_pair_becomes_a_record_in_trls_words() -> None:
    (pair,) = preference_pairs(1, confidence=0.6)
    (record,) = select_preference(config()).train
    assert list(record.prompt) == pair.prompt
    assert list(record.chosen) == [{"role": "assistant", "content": pair.chosen}]
    assert list(record.rejected) == [{"role": "assistant", "content": pair.rejected}]
    assert record.weight == pytest.approx(0.6)


def test_rejected_merged_weightless_and_thumbed_down_pairs_never_are_trained() -> None:
    (kept,) = sft_pairs(1)
    sft_pairs(1, review_status=ReviewStatus.REJECTED)
    sft_pairs(1, merged_into=kept)
    sft_pairs(1, sampling_weight=0.0)
    sft_pairs(1, reward_intensity=0.0)
    assert trained(unused_only=False) == {kept.pk}


def test_used_pairs_are_left_out_unless_asked_for() -> None:
    fresh, used = sft_pairs(2)
    SftPair.objects.mark_used([used.pk], training_epoch=0)
    assert trained() == {fresh.pk}
    assert trained(unused_only=False) == {fresh.pk, used.pk}


def test_filters_narrow_the_pool() -> None:
    (old,) = sft_pairs(1, age_days=9, confidence=0.5)
    (new,) = sft_pairs(1, age_days=1, confidence=0.4, source="manual")
    (approved,) = sft_pairs(1, age_days=5, review_status=ReviewStatus.APPROVED)
    SftPair.objects.filter(pk=approved.pk).update(conversation=conversation("of another", participant="Ada"))
    assert trained(since=timezone.now() - timedelta(days=6)) == {new.pk, approved.pk}
    assert trained(min_confidence=0.5) == {old.pk, approved.pk}
    assert trained(source=["manual"]) == {new.pk}
    assert trained(approved_only=True) == {approved.pk}
    assert trained(participant=["Ada"]) == {approved.pk}
    assert trained(limit=2) == {new.pk, approved.pk}


def test_held_out_pairs_are_never_among_the_trained_and_always_the_same() -> None:
    sft_pairs(200)
    settings = config(evaluation={"validation_share": 0.2})
    first, second = select_sft(settings), select_sft(settings)
    assert 20 < len(first.held_out) < 60
    assert len(first.train) + len(first.held_out) == 200
    assert first.held_out == second.held_out


@pytest.mark.parametrize(("stored", "enough"), [(4, False), (5, True)])
def test_too_few_memory_pairs_are_refused(stored: int, enough: bool) -> None:
    sft_pairs(stored)
    if enough:
        assert len(select_sft(config(min_sft_pairs=5)).train) == 5
        return
    with pytest.raises(
        NotEnoughPairs,
        match=r"^the memory channel has 4 pairs to train \(0 more are held out\), allowed 5 or more "
        r"\(min_sft_pairs\); `manage.py pair_stats` shows what there is$",
    ):
        select_sft(config(min_sft_pairs=5))


def test_an_empty_preference_channel_is_refused() -> None:
    with pytest.raises(NotEnoughPairs, match=r"^the preference channel has 0 pairs to train "):
        select_preference(config())
