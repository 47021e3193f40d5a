"""What was used is marked with time and epoch, and set free when nothing came of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from django.db import IntegrityError
from django.utils import timezone

from memory.curation.decisions import reemit
from memory.curation.editing import edit
from memory.models import PreferencePair, SftPair
from tests.training.rows import preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.datasets import Record
from training.ledger import UsedBatch, record_step, release
from training.models import PairUse, TrainingRun
from training.sampling.plan import Channel
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


def batch(records: Sequence[Record], *, channel: Channel = "sft", epoch: int = 0, weight: float = 1.0) -> UsedBatch:
    return UsedBatch(channel, records, epoch=epoch, weight=weight)


def sft_records(pairs: list[SftPair]) -> list[Record]:
    records = {record.id: record for record in select_sft(CONFIG).train}
    return [records[pair.pk] for pair in pairs]


def used(pair: SftPair, *, epoch: int = 0, step: int = 1, run: TrainingRun | None = None) -> TrainingRun:
    """Let a run use the pair, a new one unless one is given."""
    run = run or new_run()
    record_step(run, step=step, batches=[batch(sft_records([pair]), epoch=epoch)])
    return run


def failed(run: TrainingRun) -> int:
    run.fail(RuntimeError("out of memory"))
    return release(run)


def mark(pair: SftPair) -> tuple[bool, datetime | None, int | None]:
    pair.refresh_from_db()
    return pair.is_used, pair.used_timestamp, pair.training_epoch


def test_a_batch_is_marked_with_a_ledger_row_for_each_pair() -> None:
    pairs = sft_pairs(3)
    run, before = new_run(), timezone.now()
    record_step(run, step=4, batches=[batch(sft_records(pairs[:2]), epoch=1, weight=0.5)])
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
    run.refresh_from_db()
    assert run.steps == 4


def test_a_step_of_both_channels_marks_both() -> None:
    memory, (reward,) = sft_pairs(1), preference_pairs(1)
    run = new_run()
    batches = [batch(sft_records(memory)), batch(select_preference(CONFIG).train, channel="preference", weight=0.6)]
    record_step(run, step=1, batches=batches)
    reward.refresh_from_db()
    assert reward.is_used
    assert run.uses.exclude(preference_pair=None).get().preference_pair_id == reward.pk
    assert run.uses.count() == 2


def test_a_step_whose_second_half_fails_leaves_no_mark() -> None:
    """The same pair twice in a step is what the database refuses."""
    pairs = sft_pairs(1)
    run = new_run()
    with pytest.raises(IntegrityError):
        record_step(run, step=1, batches=[batch(sft_records(pairs)), batch(sft_records(pairs))])
    assert not SftPair.objects.used().exists()
    assert not run.uses.exists()
    run.refresh_from_db()
    assert run.steps == 0


def test_a_pair_that_was_deleted_since_the_run_began_leaves_the_others_their_mark() -> None:
    pairs, rewards = sft_pairs(2), preference_pairs(1)
    records, reward_records = sft_records(pairs), select_preference(CONFIG).train
    pairs[0].delete()
    rewards[0].delete()
    run = new_run()
    record_step(run, step=1, batches=[batch(records), batch(reward_records, channel="preference")])
    assert [use.sft_pair_id for use in run.uses.all()] == [pairs[1].pk]
    assert SftPair.objects.used().get() == pairs[1]
    run.refresh_from_db()
    assert run.steps == 1


def test_a_correction_made_while_the_run_trains_stays_unused() -> None:
    corrected, other = sft_pairs(2)
    records, run = sft_records([corrected, other]), new_run()
    record_step(run, step=1, batches=[batch(records)])
    edit(pair=corrected, field="response", text="a corrected answer", user=None)
    record_step(run, step=2, batches=[batch(records)])
    assert SftPair.objects.unused().get() == corrected
    assert list(run.uses.filter(sft_pair=corrected).values_list("content_hash", flat=True)) == (
        [records[0].content_hash] * 2
    )


def test_a_step_that_is_taken_again_is_in_the_ledger_once() -> None:
    records, run = sft_records(sft_pairs(1)), new_run()
    for step in (1, 2, 1, 2, 3):
        record_step(run, step=step, batches=[batch(records)])
    assert list(run.uses.order_by("id").values_list("step", flat=True)) == [1, 2, 3]


def test_records_from_a_file_leave_no_mark() -> None:
    records = [replace(record, id=None) for record in sft_records(sft_pairs(1))]
    run = new_run()
    record_step(run, step=1, batches=[batch(records)])
    assert not run.uses.exists()
    assert run.steps == 1


def test_the_number_of_queries_does_not_grow_with_the_batch(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    records = sft_records(sft_pairs(60))
    for size in (2, 60):
        run = new_run()
        with django_assert_num_queries(8):
            record_step(run, step=1, batches=[batch(records[:size])])


def test_the_ledger_answers_both_ways() -> None:
    first, second = sft_pairs(2)
    (reward,) = preference_pairs(1)
    runs = [new_run(), new_run()]
    for run in runs:
        record_step(run, step=1, batches=[batch(sft_records([first]))])
        record_step(run, step=2, batches=[batch(sft_records([first]))])
    of_reward = batch(select_preference(CONFIG).train, channel="preference")
    record_step(runs[1], step=3, batches=[batch(sft_records([second])), of_reward])
    assert set(TrainingRun.objects.filter(uses__sft_pair=first)) == set(runs)
    assert list(TrainingRun.objects.filter(uses__sft_pair=second)) == [runs[1]]
    assert list(TrainingRun.objects.filter(uses__preference_pair=reward)) == [runs[1]]
    assert set(SftPair.objects.filter(uses__run=runs[0])) == {first}
    assert set(SftPair.objects.filter(uses__run=runs[1])) == {first, second}
    assert set(PreferencePair.objects.filter(uses__run=runs[1])) == {reward}


@pytest.mark.parametrize("ended", ["succeeded", "interrupted", "running"])
def test_a_failed_run_sets_free_what_it_alone_has_used(ended: str) -> None:
    alone, shared = sft_pairs(2)
    other = new_run()
    record_step(other, step=1, batches=[batch(sft_records([shared]))])
    TrainingRun.objects.update(status=ended)
    failed = new_run()
    record_step(failed, step=1, batches=[batch(sft_records([alone, shared]))])
    failed.fail(RuntimeError("out of memory"))
    assert release(failed) == 1
    assert set(SftPair.objects.unused().values_list("pk", flat=True)) == {alone.pk}
    assert PairUse.objects.filter(run=failed).count() == 2


def test_what_two_failed_runs_have_used_is_free() -> None:
    pairs = sft_pairs(1)
    for _ in range(2):
        run = new_run()
        record_step(run, step=1, batches=[batch(sft_records(pairs))])
        assert failed(run) == 1
    assert mark(pairs[0]) == (False, None, None)


@pytest.fixture
def reemitted() -> SftPair:
    """Return a pair that a run trained in its epoch 3, and that a person offered again."""
    (pair,) = sft_pairs(1)
    used(pair, epoch=3).succeed(steps=1, metrics={}, evaluation={}, adapter="somewhere")
    reemit(pairs=SftPair.objects.all(), user=None)
    return pair


def test_a_pair_that_was_to_be_trained_again_still_is_after_failed_runs(reemitted: SftPair) -> None:
    before = mark(reemitted)
    assert before[0] is False
    assert before[1:] != (None, None)
    for _ in range(2):
        run = used(reemitted)
        assert mark(reemitted) != before
        assert failed(run) == 1
        assert mark(reemitted) == before


def test_a_pair_that_a_resumed_run_used_again_and_again_is_as_it_was_before_it(reemitted: SftPair) -> None:
    before = mark(reemitted)
    run = used(reemitted)
    used(reemitted, epoch=1, step=2, run=run)
    run.interrupt(KeyboardInterrupt())
    run.resume()
    used(reemitted, epoch=2, step=3, run=run)
    assert failed(run) == 1
    assert mark(reemitted) == before


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_runs_that_share_a_pair_the_last_to_fail_frees_it(reemitted: SftPair, first: int) -> None:
    before = mark(reemitted)
    runs = [used(reemitted), used(reemitted)]
    assert failed(runs.pop(first)) == 0
    assert mark(reemitted)[0] is True
    assert failed(runs.pop()) == 1
    assert mark(reemitted) == before


def test_a_used_pair_that_was_trained_once_more_in_vain_keeps_its_earlier_use() -> None:
    (pair,) = sft_pairs(1)
    used(pair, epoch=3).succeed(steps=1, metrics={}, evaluation={}, adapter="somewhere")
    before = mark(pair)
    run = used(pair)
    assert failed(run) == 0
    assert mark(pair) == before


def test_a_pair_that_is_offered_again_while_a_run_trains_it_stays_so_when_that_fails() -> None:
    (pair,) = sft_pairs(1)
    used(pair).succeed(steps=1, metrics={}, evaluation={}, adapter="somewhere")
    before = mark(pair)
    run = used(pair)
    reemit(pairs=SftPair.objects.all(), user=None)
    failed(run)
    assert mark(pair) == (False, *before[1:])


def test_a_preference_pair_goes_back_to_its_earlier_mark_too() -> None:
    (pair,) = preference_pairs(1)
    records = select_preference(CONFIG).train
    for _ in range(2):
        run = new_run()
        record_step(run, step=1, batches=[batch(records, channel="preference")])
        assert failed(run) == 1
    pair.refresh_from_db()
    assert (pair.is_used, pair.used_timestamp, pair.training_epoch) == (False, None, None)


@pytest.mark.parametrize(("other_ended", "is_free"), [("failed", True), ("succeeded", False)])
def test_what_an_earlier_version_wrote_is_free_where_no_other_run_has_used_it(other_ended: str, is_free: bool) -> None:
    (pair,) = sft_pairs(1)
    used(pair)
    TrainingRun.objects.update(status=other_ended)
    run = used(pair)
    PairUse.objects.update(was_used=None, former_used_timestamp=None, former_training_epoch=None)
    assert failed(run) == is_free
    assert mark(pair)[0] is not is_free


def test_the_number_of_queries_of_a_release_does_not_grow_with_its_pairs(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    records = sft_records(sft_pairs(60))
    for size in (2, 60):
        run = new_run()
        record_step(run, step=1, batches=[batch(records[:size])])
        with django_assert_num_queries(9):
            assert release(run) == size
