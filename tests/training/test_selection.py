"""The config's filters decide which rows are trained; the guards hold whatever it says."""

import json
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from django.utils import timezone
from pytest_django import Settings

from memory.models import Conversation, Message, PreferencePair, ReviewStatus, SftPair
from tests.training.rows import conversation, preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.datasets import is_held_out
from training.jsonl import PairsFileError
from training.pool_sizes import pool_sizes
from training.preference_groups import GROUPS_BY_SOURCE
from training.sampling.schedule import Mixing
from training.selection import NotEnoughPairs, retention_pairs, select_pools, select_preference, select_sft

pytestmark = pytest.mark.django_db


def config(**changes: Any) -> TrainingConfig:
    given = {"min_sft_pairs": 1, "min_preference_pairs": 1, "evaluation": {"validation_share": 0.0}}
    return TrainingConfig.model_validate({"model_name_or_path": "any", **given, **changes})


def trained(**filters: Any) -> set[int | None]:
    return {record.id for record in select_sft(config(sft_filters=filters)).train}


def conversation_key(*, held_out: bool, number: int = 0) -> str:
    """Return the id of the first, or `number`-th, conversation that a share of one half holds out, or does not."""
    names = (f"talk {index}" for index in range(1000))
    return [name for name in names if is_held_out(f"test:{name}", share=0.5) is held_out][number]


def answer_in(talk: Conversation) -> Message:
    return Message.objects.create(conversation=talk, external_id="answer", role="assistant", content="Yes.")


HALF: dict[str, Any] = {"evaluation": {"validation_share": 0.5}}


def test_a_pair_becomes_a_record_in_trls_words() -> None:
    context = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello."}]
    (pair,) = sft_pairs(1, context=context, reward_intensity=0.8, sampling_weight=0.5)
    (record,) = select_sft(config()).train
    assert record.id == pair.pk
    assert list(record.prompt) == [*context, {"role": "user", "content": "question 0"}]
    assert list(record.completion) == [{"role": "assistant", "content": "answer 0"}]
    assert (record.weight, record.reward) == (0.4, 0.8)
    assert (record.source, record.conversation) == ("conversation", "test:sft-0")
    assert record.content_hash == pair.content_hash


def test_a_preference_pair_becomes_a_record_in_trls_words() -> None:
    (pair,) = preference_pairs(1, confidence=0.6, margin=0.7)
    (record,) = select_preference(config()).train
    assert list(record.prompt) == pair.prompt
    assert list(record.chosen) == [{"role": "assistant", "content": pair.chosen}]
    assert list(record.rejected) == [{"role": "assistant", "content": pair.rejected}]
    assert (record.weight, record.reward) == (0.6, 0.7)
    assert (record.source, record.group, record.conversation) == ("rating", "drafts", "test:preference-0")


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({"source": "edit"}, "curated"),
        ({"source": "import"}, "curated"),
        ({"source": "rating", "review_status": "approved"}, "curated"),
        ({"source": "replay", "review_status": "approved"}, "curated"),
        ({"source": "rating"}, "drafts"),
        ({"source": "regeneration"}, "drafts"),
        ({"source": "replay"}, "replay"),
    ],
)
def test_a_preference_pair_belongs_to_a_group(fields: dict[str, str], group: str) -> None:
    preference_pairs(1, **fields)
    (record,) = select_preference(config()).train
    assert record.group == group


def test_every_source_of_a_preference_pair_has_a_group() -> None:
    assert set(GROUPS_BY_SOURCE) == set(PreferencePair.Source.values)


def test_a_group_without_a_share_is_left_out() -> None:
    preference_pairs(3)
    preference_pairs(2, source="replay")
    assert len(select_preference(config(preference_shares={"replay": 0})).train) == 3
    with pytest.raises(NotEnoughPairs, match=r"^the preference channel has 2 pairs to train "):
        select_preference(config(preference_shares={"drafts": 0}, min_preference_pairs=3))


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
    (approved,) = sft_pairs(1, age_days=5, review_status=ReviewStatus.APPROVED, reward_intensity=0.9)
    SftPair.objects.filter(pk=approved.pk).update(conversation=conversation("of another", participant="Ada"))
    assert trained(since=timezone.now() - timedelta(days=6)) == {new.pk, approved.pk}
    assert trained(min_confidence=0.5) == {old.pk, approved.pk}
    assert trained(source=["manual"]) == {new.pk}
    assert trained(review_status=["approved"]) == {approved.pk}
    assert trained(review_status=["pending"]) == {old.pk, new.pk}
    assert trained(min_reward=0.9) == {approved.pk}
    assert trained(participant=["Ada"]) == {approved.pk}
    assert trained(limit=2) == {new.pk, approved.pk}


def test_held_out_pairs_are_never_among_the_trained_and_always_the_same() -> None:
    sft_pairs(200)
    settings = config(evaluation={"validation_share": 0.2})
    first, second = select_sft(settings), select_sft(settings)
    assert 20 < len(first.held_out) < 60
    assert len(first.train) + len(first.held_out) == 200
    assert first.held_out == second.held_out


def test_the_margin_is_what_the_reward_of_a_preference_pair_is_filtered_by() -> None:
    preference_pairs(1, margin=0.4)
    (kept,) = preference_pairs(1, margin=0.5)
    found = select_preference(config(preference_filters={"min_reward": 0.5})).train
    assert [record.id for record in found] == [kept.pk]


def test_a_text_that_is_held_out_is_trained_from_no_other_conversation() -> None:
    held = conversation(conversation_key(held_out=True))
    twin, other = (conversation(conversation_key(held_out=False, number=number)) for number in range(2))
    sft_pairs(1, conversation=held, response="said twice")
    sft_pairs(1, conversation=twin, response="said twice")
    (kept,) = sft_pairs(1, conversation=other, response="said once")
    SftPair.objects.filter(response="said twice").update(instruction="again", content_hash="f" * 64)
    pool = select_sft(config(**HALF))
    assert [record.id for record in pool.train] == [kept.pk]
    assert len(pool.held_out) == 1


def test_a_held_out_text_stays_untrained_where_a_filter_hides_it_tonight() -> None:
    held, twin = (conversation(conversation_key(held_out=held_out)) for held_out in (True, False))
    sft_pairs(1, conversation=held, confidence=0.1)
    sft_pairs(1, conversation=twin)
    SftPair.objects.update(content_hash="f" * 64)
    with pytest.raises(NotEnoughPairs, match=r"^the memory channel has 0 pairs to train \(0 more are held out\)"):
        select_sft(config(**HALF, sft_filters={"min_confidence": 0.5}))


@pytest.mark.parametrize("side", ["chosen_message", "rejected_message"])
def test_a_preference_pair_with_an_answer_of_a_held_out_conversation_is_not_trained(side: str) -> None:
    held, own, third = (
        conversation(conversation_key(held_out=held_out, number=number))
        for held_out, number in ((True, 0), (False, 0), (False, 1))
    )
    elsewhere, here, there = (answer_in(talk) for talk in (held, own, third))
    other = "rejected_message" if side == "chosen_message" else "chosen_message"
    preference_pairs(1, source="replay", conversation=own, **{side: elsewhere, other: here})
    (kept,) = preference_pairs(1, source="replay", conversation=own, chosen_message=here, rejected_message=there)
    (measured,) = preference_pairs(
        1, source="replay", conversation=held, chosen_message=elsewhere, rejected_message=there
    )
    pool = select_preference(config(**HALF))
    assert [record.id for record in pool.train] == [kept.pk]
    assert [record.id for record in pool.held_out] == [measured.pk]
    sizes = pool_sizes(config(**HALF), using="default").preference
    assert (sizes.trained, sizes.held_out) == (1, 1)


def test_a_rejected_pair_holds_out_no_other() -> None:
    held, twin = (conversation(conversation_key(held_out=held_out)) for held_out in (True, False))
    sft_pairs(1, conversation=held, review_status=ReviewStatus.REJECTED)
    (kept,) = sft_pairs(1, conversation=twin)
    SftPair.objects.update(content_hash="f" * 64)
    assert [record.id for record in select_sft(config(**HALF)).train] == [kept.pk]


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


def test_a_channel_may_be_left_out_where_the_config_allows_it_but_not_both() -> None:
    sft_pairs(3)
    preference_pairs(2)
    pools = select_pools(config(allow_one_channel=True, min_preference_pairs=3))
    assert (len(pools.sft.train), len(pools.preference.train)) == (3, 0)
    pools = select_pools(config(allow_one_channel=True, min_sft_pairs=4))
    assert (len(pools.sft.train), len(pools.preference.train)) == (0, 2)
    with pytest.raises(
        NotEnoughPairs,
        match=r"^no channel has enough pairs to train, allowed 4 or more memory pairs \(min_sft_pairs\) or 3 or more "
        r"preference pairs \(min_preference_pairs\); `manage.py pair_stats` shows what there is$",
    ):
        select_pools(config(allow_one_channel=True, min_sft_pairs=4, min_preference_pairs=3))


@pytest.mark.parametrize("mixing", get_args(Mixing))
def test_a_channel_that_is_never_drawn_needs_no_pairs_and_has_none_to_train(mixing: Mixing) -> None:
    sft_pairs(2)
    preference_pairs(2)
    off = {"sft_weight": 0.0, "preference_weight": 1.0, "batch_mixing": mixing}
    assert select_sft(config(**off, min_sft_pairs=9)).train == ()
    assert select_sft(config(**off)).train == ()
    pools = select_pools(config(**off, min_sft_pairs=9))
    assert (len(pools.sft.train), len(pools.preference.train)) == (0, 2)


def test_a_channel_that_is_never_drawn_is_not_asked_for_pairs() -> None:
    sft_pairs(2)
    off = {"sft_weight": 0.0, "preference_weight": 1.0, "allow_one_channel": True}
    with pytest.raises(
        NotEnoughPairs, match=r"to train, allowed 1 or more preference pairs \(min_preference_pairs\); `manage"
    ):
        select_pools(config(**off))


class TestRetentionPairs:
    def used(self, count: int, **fields: Any) -> list[SftPair]:
        pairs = sft_pairs(count, **{"review_status": ReviewStatus.APPROVED, **fields})
        SftPair.objects.mark_used([pair.pk for pair in pairs], training_epoch=0)
        return pairs

    def answers(self, *, trained: Collection[int] = (), **changes: Any) -> list[str]:
        settings = config(retention={"approved_pairs": 2}, **changes)
        return [completion[0]["content"] for _, completion in retention_pairs(settings, trained=trained)]

    def test_the_newest_approved_and_used_pairs_are_taken(self) -> None:
        old, middle, new = (self.used(1, age_days=days)[0] for days in (3, 2, 1))
        sft_pairs(1, review_status=ReviewStatus.APPROVED)
        self.used(1, review_status=ReviewStatus.PENDING)
        assert self.answers() == [new.response, middle.response]
        assert self.answers(trained={new.pk}) == [middle.response, old.response]

    def test_prompt_and_completion_are_chats(self) -> None:
        (pair,) = self.used(1, context=[{"role": "system", "content": "Be brief."}])
        ((prompt, completion),) = retention_pairs(config(retention={"approved_pairs": 1}))
        assert list(prompt) == [*pair.context, {"role": "user", "content": pair.instruction}]
        assert list(completion) == [{"role": "assistant", "content": pair.response}]

    def test_held_out_pairs_are_not_taken(self) -> None:
        self.used(1, conversation=conversation(conversation_key(held_out=True)))
        (kept,) = self.used(1, conversation=conversation(conversation_key(held_out=False)))
        assert self.answers(**HALF) == [kept.response]

    def test_none_are_taken_by_default(self) -> None:
        self.used(1)
        assert retention_pairs(config()) == ()


class TestFromFile:
    @pytest.fixture
    def data_dir(self, tmp_path: Path, settings: Settings) -> Path:
        settings.DATA_DIR = tmp_path
        return tmp_path

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def test_a_file_stands_in_place_of_the_database(self, data_dir: Path) -> None:
        sft_pairs(3)
        preference_pairs(3)
        self.write(data_dir / "memory.jsonl", [{"prompt": "Which dog?", "completion": "Pixel."}])
        self.write(data_dir / "reward.jsonl", [{"prompt": "Hello?", "chosen": "Hello.", "rejected": "Oh, hello!"}])
        pools = select_pools(config(sft_jsonl="memory.jsonl", preference_jsonl="reward.jsonl"))
        assert [record.completion[0]["content"] for record in pools.sft.train] == ["Pixel."]
        assert [record.chosen[0]["content"] for record in pools.preference.train] == ["Hello."]

    def test_the_newest_are_kept_and_come_first(self, data_dir: Path) -> None:
        days = [1, 3, 2]
        self.write(
            data_dir / "memory.jsonl",
            [{"prompt": "When?", "completion": f"day {day}", "created_at": f"2026-05-0{day}"} for day in days],
        )
        pool = select_sft(config(sft_jsonl="memory.jsonl", sft_filters={"limit": 2}))
        assert [record.completion[0]["content"] for record in pool.train] == ["day 3", "day 2"]

    def test_conversations_are_held_out_and_their_texts_trained_nowhere(self, data_dir: Path) -> None:
        held, free = (
            next(name for name in map(str, range(99)) if is_held_out(name, share=0.5) is held) for held in (True, False)
        )
        rows = [("said twice", held), ("said twice", free), ("said once", free)]
        self.write(
            data_dir / "memory.jsonl",
            [{"prompt": "What?", "completion": text, "conversation": name} for text, name in rows],
        )
        pool = select_sft(config(**HALF, sft_jsonl="memory.jsonl"))
        assert [record.completion[0]["content"] for record in pool.train] == ["said once"]
        assert [record.conversation for record in pool.held_out] == [held]

    def test_the_minimum_holds_and_pairs_without_weight_do_not_count(self, data_dir: Path) -> None:
        self.write(
            data_dir / "memory.jsonl",
            [{"prompt": "What?", "completion": f"that {number}", "weight": number % 2} for number in range(4)],
        )
        with pytest.raises(NotEnoughPairs, match=r"^the memory channel has 2 pairs to train "):
            select_sft(config(sft_jsonl="memory.jsonl", min_sft_pairs=3))

    def test_bad_lines_come_with_the_pool(self, data_dir: Path) -> None:
        rows = [{"prompt": "What?", "completion": f"that {number}"} for number in range(20)]
        self.write(data_dir / "memory.jsonl", [*rows, {"prompt": "What?"}])
        (bad,) = select_sft(config(sft_jsonl="memory.jsonl")).skipped
        assert str(bad) == "memory.jsonl, line 21: completion: got None, allowed a list"

    def test_a_file_outside_of_the_data_folder_is_refused(self, data_dir: Path) -> None:
        with pytest.raises(PairsFileError, match=r"^preference_jsonl: got \.\./reward\.jsonl, allowed a path under "):
            select_preference(config(preference_jsonl="../reward.jsonl"))
