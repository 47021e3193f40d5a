"""What was used is marked with time and epoch, and set free when nothing came of it."""

import pytest
from django.utils import timezone

from memory.models import SftPair
from tests.training.rows import preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.ledger import record_use, release
from training.models import PairUse, TrainingRun
from training.selection import select_preference, select_sft

pytestmark = pytest.mark.django_db

CONFIG = TrainingConfig.model_validate(
    {
        "model_name_or_path": "any",
        "min_sft_pairs": 1,
        "min_preference_pairs": 1,
        "evaluation": {"validation_share": 0},
        "sft_filters": {"unused_only": False},
    }
)


def new_run() -> TrainingRun:
    return TrainingRun.objects.create(config_path="run.yaml", config={})


def test_a_batch_is_marked_with_a_ledger_row_for_each_pair() -> None:
    pairs = sft_pairs(3)
    run, before = new_run(), timezone.now()
    records = {record.id: record for record in select_sft(CONFIG).train}
    record_use(run=run, records=[records[pair.pk] for pair in pairs[:2]], step=4, epoch=1, weight=0.5)
    pairs[0].refresh_from_db()
    assert pairs[0].is_used
    assert pairs[0].training_epoch == 1
    assert pairs[0].used_timestamp is not None
    assert before <= pairs[0].used_timestamp <= timezone.now()
    pairs[2].refresh_from_db()
    assert not pairs[2].is_used
    uses = list(run.uses.order_by("id").values_list("sft_pair_id", "step", "epoch", "weight"))
    assert uses == [(pairs[0].pk, 4, 1, 0.5), (pairs[1].pk, 4, 1, 0.5)]
    assert run.uses.filter(preference_pair=None).count() == 2
    assert run.uses.filter(content_hash=pairs[0].content_hash).count() == 1


def test_preference_pairs_are_marked_too() -> None:
    (pair,) = preference_pairs(1)
    run = new_run()
    record_use(run=run, records=select_preference(CONFIG).train, step=1, epoch=0, weight=1.0)
    pair.refresh_from_db()
    assert pair.is_used
    assert run.uses.get().preference_pair_id == pair.pk


def test_the_number_of_queries_does_not_grow_with_the_batch(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    sft_pairs(60)
    run = new_run()
    records = select_sft(CONFIG).train
    for size in (2, 60):
        with django_assert_num_queries(6):
            record_use(run=run, records=records[:size], step=1, epoch=0, weight=1.0)


def test_a_failed_run_sets_free_what_it_alone_has_used() -> None:
    alone, shared = sft_pairs(2)
    records = {record.id: record for record in select_sft(CONFIG).train}
    earlier = new_run()
    record_use(run=earlier, records=[records[shared.pk]], step=1, epoch=0, weight=1.0)
    earlier.succeed(steps=1, metrics={}, evaluation={}, adapter="somewhere")
    failed = new_run()
    record_use(run=failed, records=[records[alone.pk], records[shared.pk]], step=1, epoch=0, weight=1.0)
    failed.fail(RuntimeError("out of memory"))
    assert release(failed) == 1
    assert set(SftPair.objects.unused().values_list("pk", flat=True)) == {alone.pk}
    assert PairUse.objects.filter(run=failed).count() == 2
