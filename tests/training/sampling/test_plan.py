"""The course of a run follows from config, pools, embeddings, time and seed alone."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from memory.embeddings import Vectors, unit_rows
from tests.training.records import NOW, preference_record, sft_record
from training.config import TrainingConfig
from training.datasets import PreferenceGroup, Record
from training.sampling.plan import Channel, PlannedBatch, RunPlan, plan_run

SFT = [sft_record(number, age_days=number) for number in range(20)]
PREFERENCE = [preference_record(number) for number in range(12)]
NO_VECTORS: Mapping[Channel, Vectors | None] = {"sft": None, "preference": None}
GROUPS: tuple[PreferenceGroup, ...] = ("curated", "drafts", "replay")


def plan(
    *,
    sft: Sequence[Record] = SFT,
    preference: Sequence[Record] = PREFERENCE,
    embeddings: Mapping[Channel, Vectors | None] = NO_VECTORS,
    **changes: object,
) -> RunPlan:
    config = TrainingConfig.model_validate(
        {"model_name_or_path": "any", "max_steps": 50, "recency_floor": 1.0, **changes}
    )
    return plan_run(config, sft=sft, preference=preference, embeddings=embeddings, now=NOW)


def batches_of(run: RunPlan, channel: Channel) -> list[PlannedBatch]:
    return [batch for step in run.steps for batch in step.batches if batch.channel == channel]


def draws(run: RunPlan, channel: Channel) -> Counter[int]:
    return Counter(index for batch in batches_of(run, channel) for index in batch.indices)


def topics(sizes: Sequence[int]) -> Vectors:
    """Return unit rows of topics of these sizes, one after the other, each in a direction of its own."""
    count = sum(sizes)
    rows = np.repeat(np.eye(32)[: len(sizes)], sizes, axis=0)
    return unit_rows((rows + np.random.default_rng(0).normal(size=(count, 32), scale=0.002)).astype(np.float32))


def test_the_same_seed_gives_the_same_course() -> None:
    embeddings: dict[Channel, Vectors | None] = {"sft": topics([5] * 4), "preference": None}
    first, second = (plan(embeddings=embeddings, farthest_first_basis=True) for _ in range(2))
    assert first.steps == second.steps


def test_another_seed_gives_another_course() -> None:
    assert plan(seed=1).steps != plan(seed=2).steps


def test_steps_keep_the_channels_shares_and_sizes() -> None:
    run = plan(sft_batch_size=5, preference_batch_size=4)
    assert {len(step.batches) for step in run.steps} == {1}
    assert len(batches_of(run, "sft")) == 20
    assert {len(batch.indices) for batch in batches_of(run, "sft")} == {5}
    assert {len(batch.indices) for batch in batches_of(run, "preference")} == {4}


def test_mixed_steps_have_a_batch_of_each_channel_memory_first() -> None:
    steps = plan(batch_mixing="mixed").steps
    assert len(steps) == 50
    assert {tuple(batch.channel for batch in step.batches) for step in steps} == {("sft", "preference")}


def test_a_step_that_is_divided_has_the_pairs_of_one_that_is_not() -> None:
    assert plan(gradient_accumulation_steps=4).steps == plan().steps


@pytest.mark.parametrize("embeddings", [NO_VECTORS, {"sft": topics([10, 6, 4]), "preference": topics([9, 3])}])
def test_no_pair_comes_twice_in_an_epoch_of_its_channel(embeddings: Mapping[Channel, Vectors | None]) -> None:
    run = plan(embeddings=embeddings, recency_floor=0.5)
    seen: dict[tuple[str, int], list[int]] = {}
    for batch in (*batches_of(run, "sft"), *batches_of(run, "preference")):
        seen.setdefault((batch.channel, batch.epoch), []).extend(batch.indices)
    assert len(seen) > 4
    assert all(len(indices) == len(set(indices)) for indices in seen.values())


def test_the_newer_pair_is_drawn_more_often() -> None:
    decays = {"sft": {"fast": 86400, "slow": 432000}}
    drawn = draws(plan(recency_floor=0.05, recency_decay_seconds=decays, max_steps=400), "sft")
    assert drawn[0] > 2 * drawn[19] > 0


def test_a_corrected_fact_is_drawn_more_often_than_what_it_replaces_whatever_its_cluster() -> None:
    """The older pair is alone in its cluster, the newer one among nine others."""
    sft = [sft_record(number, age_days=4 if number == 0 else 0) for number in range(200)]
    run = plan(
        sft=sft,
        embeddings={"sft": topics([1, *[10] * 18, 19]), "preference": None},
        recency_floor=0.05,
        recency_decay_seconds={"sft": {"fast": 3600, "slow": 86400}},
        max_steps=5000,
    )
    assert run.sft.clusters is not None
    assert (run.sft.clusters == run.sft.clusters[0]).sum() == 1
    drawn = draws(run, "sft")
    assert drawn[100] > 5 * drawn[0] > 0


def test_a_rare_topic_is_visited_as_often_as_a_common_one_while_it_lasts() -> None:
    """Twenty topics: a batch of 20 has one of each, the next has one of each but the rarest, which is used up."""
    sizes = [200, *[10] * 18, 1]
    topic = np.repeat(np.arange(20), sizes)
    run = plan(
        sft=[sft_record(number) for number in range(sum(sizes))],
        embeddings={"sft": topics(sizes), "preference": None},
        sft_batch_size=20,
    )
    first, second, *_ = batches_of(run, "sft")
    assert sorted(topic[list(first.indices)].tolist()) == list(range(20))
    assert set(topic[list(second.indices)].tolist()) == set(range(19))


def test_without_clusters_wanted_there_are_none() -> None:
    run = plan(embeddings={"sft": topics([10, 10]), "preference": None}, diversity_k=None)
    assert run.sft.clusters is None


def test_an_epoch_begins_with_the_samples_that_lie_farthest_from_each_other() -> None:
    """Twenty topics of ten, in batches of 20: each epoch's first has one pair of each, the heaviest in front."""
    sft = [sft_record(number, weight=1.0 if number == 77 else 0.9) for number in range(200)]
    run = plan(
        sft=sft,
        embeddings={"sft": topics([10] * 20), "preference": None},
        diversity_k=None,
        farthest_first_basis=True,
        sft_batch_size=20,
    )
    firsts = [batch for number, batch in enumerate(batches_of(run, "sft")) if number % 9 == 0]
    assert [batch.epoch for batch in firsts] == [0, 1, 2]
    assert {batch.indices[0] for batch in firsts if 77 in batch.indices} == {77}
    assert [sorted(index // 10 for index in batch.indices) for batch in firsts] == [list(range(20))] * 3


@pytest.mark.parametrize("vectors", [None, topics([5] * 20)])
def test_preference_shares_divide_the_draws(vectors: Vectors | None) -> None:
    """Twenty curated pairs, twenty drafts, sixty of the replay buffer; as they come these would be 0.2, 0.2, 0.6."""
    group = np.repeat([0, 1, 2], [20, 20, 60])
    run = plan(
        preference=[preference_record(number, group=GROUPS[group[number]]) for number in range(100)],
        preference_shares={"curated": 2, "drafts": 1, "replay": 1},
        embeddings={"sft": None, "preference": vectors},
        max_steps=1000,
    )
    drawn = np.bincount(group[list(draws(run, "preference").elements())])
    assert drawn / drawn.sum() == pytest.approx([0.5, 0.25, 0.25], abs=0.02)


def test_a_channel_without_pairs_takes_no_step() -> None:
    for mixing in ("interleaved", "mixed", "alternating"):
        run = plan(sft=[], batch_mixing=mixing)
        assert len(batches_of(run, "preference")) == len(run.steps) == 50
        assert run.sft.weights.shape == (0,)


def test_a_change_in_one_pool_leaves_the_others_course_alone() -> None:
    longer, shorter = plan(max_steps=20), plan(max_steps=20, sft=SFT[:9])
    assert batches_of(shorter, "preference") == batches_of(longer, "preference")


def test_equal_pools_are_not_drawn_alike() -> None:
    preference = [preference_record(number, age_days=number) for number in range(20)]
    run = plan(preference=preference, sft_batch_size=20, preference_batch_size=20)
    assert batches_of(run, "sft")[0].indices != batches_of(run, "preference")[0].indices


@pytest.mark.parametrize(("epochs", "steps"), [(1, 8), (2, 15)])
def test_epochs_last_until_both_channels_have_passed_over_their_pool(epochs: int, steps: int) -> None:
    """20 memory pairs in batches of 8 are 3 steps a pass, at 0.4 of the steps: ceil(7.5) and ceil(15)."""
    assert len(plan(max_steps=None, num_train_epochs=epochs).steps) == steps


@pytest.mark.parametrize(("mixing", "steps"), [("mixed", 3), ("alternating", 6)])
def test_epochs_follow_the_turns_of_the_mixing(mixing: str, steps: int) -> None:
    """A pass takes 3 memory batches and 3 preference batches: in 3 steps with both, in 6 strict turns."""
    assert len(plan(max_steps=None, num_train_epochs=1, batch_mixing=mixing).steps) == steps


def test_a_channel_alone_lasts_its_own_epochs() -> None:
    assert len(plan(max_steps=None, num_train_epochs=1, sft=[]).steps) == 3


def test_binary_fractions_add_no_step() -> None:
    """3 * 0.1 epochs of 10 batches are 3 steps, though 3 * 0.1 is 0.30000000000000004."""
    preference = [preference_record(number) for number in range(40)]
    assert len(plan(max_steps=None, num_train_epochs=3 * 0.1, preference=preference, batch_mixing="mixed").steps) == 3
