"""Pairs leave the pools for a reason, and a person's word keeps them there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance.archive import retiring
from maintenance.models import RowChange
from maintenance.night import Night
from maintenance.steps.retire import retire
from maintenance.undo import undo
from memory import curation
from memory.models import PreferencePair, SftPair, TrainingPair
from tests.maintenance import nights
from tests.maintenance.archive.stock import NOW
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

OFF = {"retention_days": None, "max_uses": None, "rejected_days": None, "export_after_days": None}


def night(**config: Any) -> Night:
    """Return a night of which no reason holds but those that `config` names."""
    return nights.night("retire", now=NOW, retire={**OFF, **config})


def archived(**config: Any) -> dict[str, int]:
    """Take the step; return how many pairs it archived for which reason."""
    counts = retire(night(**config)).counts
    reasons = ("age", "uses", "rejected", "merged")
    return {reason: counts[f"archived_{reason}"] for reason in reasons if counts[f"archived_{reason}"]}


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def runs(count: int, status: str = "succeeded") -> list[TrainingRun]:
    return [TrainingRun.objects.create(config_path="run.yaml", config={}, status=status) for _ in range(count)]


def use(pair: TrainingPair, *by: TrainingRun, steps: int = 1) -> None:
    link = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    for run in by:
        for step in range(1, steps + 1):
            PairUse.objects.create(
                **{link: pair}, run=run, step=step, epoch=0, weight=1.0, content_hash=pair.content_hash
            )


def at(moment: datetime) -> None:
    """Date the newest records of both histories."""
    for model in (SftPair, PreferencePair):
        newest = model.history.order_by("-history_id").first()
        if newest is not None:
            model.history.filter(history_id=newest.history_id).update(history_date=moment)


def is_archived(pair: TrainingPair) -> bool:
    pair.refresh_from_db()
    assert pair.archived_at in (None, NOW)
    return pair.archived_at is not None


MAKE: list[Callable[..., Any]] = [rows.sft_pair, rows.preference_pair]


@pytest.mark.parametrize("make", MAKE)
class TestAge:
    def test_what_was_said_longer_ago_is_archived(self, make: Any) -> None:
        old = make(created_at=days_ago(10.001))
        assert archived(retention_days=10) == {"age": 1}
        assert is_archived(old)

    def test_what_was_said_since_stays(self, make: Any) -> None:
        make(created_at=days_ago(9.999))
        assert archived(retention_days=10) == {}

    def test_what_is_archived_already_keeps_its_time(self, make: Any) -> None:
        pair = make(created_at=days_ago(20), archived_at=days_ago(5))
        assert archived(retention_days=10) == {}
        pair.refresh_from_db()
        assert pair.archived_at == days_ago(5)

    @pytest.mark.parametrize(("keep", "counts"), [(True, {}), (False, {"age": 1})])
    def test_what_a_person_approved_stays_unless_the_config_says_otherwise(
        self, keep: bool, counts: dict[str, int], make: Any
    ) -> None:
        make(created_at=days_ago(20), review_status="approved")
        assert archived(retention_days=10, keep_approved=keep) == counts


@pytest.mark.parametrize("make", MAKE)
class TestUses:
    def test_successful_runs_are_counted_and_no_others(self, make: Any) -> None:
        worn, spared = make(), (rows.sft_pair() if make is rows.preference_pair else rows.preference_pair())
        use(worn, *runs(3))
        use(spared, *runs(2), *runs(1, "failed"), *runs(1, "running"), *runs(1, "interrupted"))
        assert archived(max_uses=3) == {"uses": 1}
        assert is_archived(worn)
        assert not is_archived(spared)

    def test_a_run_counts_once_however_often_it_used_the_pair(self, make: Any) -> None:
        pair = make()
        use(pair, *runs(2), steps=3)
        runs(3)
        assert archived(max_uses=3) == {}
        assert archived(max_uses=2) == {"uses": 1}

    @pytest.mark.parametrize(("keep", "counts"), [(True, {}), (False, {"uses": 1})])
    def test_what_a_person_approved_stays_unless_the_config_says_otherwise(
        self, keep: bool, counts: dict[str, int], make: Any
    ) -> None:
        use(make(review_status="approved"), *runs(2))
        assert archived(max_uses=2, keep_approved=keep) == counts


@pytest.mark.parametrize("make", MAKE)
class TestRejection:
    def test_it_counts_from_when_the_pair_was_rejected(self, make: Any) -> None:
        pair = make(created_at=days_ago(50))
        curation.reject(pairs=type(pair)._default_manager.all(), user=None)
        at(days_ago(9))
        assert archived(rejected_days=10) == {}
        at(days_ago(11))
        assert archived(rejected_days=10) == {"rejected": 1}

    def test_it_counts_from_the_last_time_it_was(self, make: Any) -> None:
        pair = make(created_at=days_ago(50))
        chosen = type(pair)._default_manager.all()
        curation.reject(pairs=chosen, user=None)
        at(days_ago(40))
        curation.reopen(pairs=chosen, user=None)
        at(days_ago(30))
        curation.reject(pairs=chosen, user=None)
        at(days_ago(9))
        assert archived(rejected_days=10) == {}

    def test_what_a_person_does_to_a_rejected_pair_does_not_begin_it_anew(self, make: Any) -> None:
        pair = make(created_at=days_ago(50), is_used=True, used_timestamp=days_ago(40), training_epoch=0)
        chosen = type(pair)._default_manager.all()
        curation.reject(pairs=chosen, user=None)
        at(days_ago(11))
        curation.reemit(pairs=chosen, user=None)
        at(days_ago(2))
        assert archived(rejected_days=10) == {"rejected": 1}

    @pytest.mark.parametrize(("days", "counts"), [(11, {"rejected": 1}), (9, {})])
    def test_without_any_history_it_counts_from_when_it_was_said(
        self, days: float, counts: dict[str, int], make: Any
    ) -> None:
        make(review_status="rejected", created_at=days_ago(days))
        assert archived(rejected_days=10) == counts

    def test_a_pair_that_is_not_rejected_stays(self, make: Any) -> None:
        make(created_at=days_ago(50))
        assert archived(rejected_days=10) == {}

    def test_a_rejection_that_no_record_tells_of_counts_from_the_newest_one(self, make: Any) -> None:
        pair = make(created_at=days_ago(50))
        chosen = type(pair)._default_manager.all()
        curation.approve(pairs=chosen, user=None)
        type(pair).history.update(history_date=days_ago(50))
        at(days_ago(9))
        chosen.update(review_status="rejected")
        assert archived(rejected_days=10) == {}


@pytest.mark.parametrize("make", MAKE)
class TestMerged:
    def test_it_follows_the_pair_that_stands_for_it(self, make: Any) -> None:
        survivor = make()
        use(survivor, *runs(2))
        merged = [another(make, merged_into=survivor) for _ in range(2)]
        assert archived(max_uses=2) == {"uses": 1, "merged": 2}
        assert all(is_archived(pair) for pair in merged)

    def test_the_pair_that_stands_for_others_is_as_old_as_the_newest_of_them(self, make: Any) -> None:
        survivor = make(created_at=days_ago(30))
        old, newer = (another(make, created_at=days_ago(days), merged_into=survivor) for days in (20, 9))
        assert archived(retention_days=10) == {"merged": 1}
        assert [is_archived(pair) for pair in (survivor, old, newer)] == [False, True, False]
        newer.created_at = days_ago(11)
        newer.save()
        assert archived(retention_days=10) == {"age": 1, "merged": 1}

    @pytest.mark.parametrize(
        "fields", [{"review_status": "rejected"}, {"sampling_weight": 0.0}, {"archived_at": NOW}, {"consent": False}]
    )
    def test_what_would_not_be_trained_without_it_does_not_keep_it(self, fields: dict[str, Any], make: Any) -> None:
        if "consent" in fields:
            fields = {"conversation": rows.conversation(training_allowed=False)}
        another(make, merged_into=make(created_at=days_ago(20)), **fields)
        assert archived(retention_days=10)["age"] == 1

    @pytest.mark.parametrize("config", [{"retention_days": 10}, {"max_uses": 2}])
    @pytest.mark.parametrize("keep", [True, False])
    def test_what_a_person_approved_of_them_keeps_it(self, config: dict[str, int], keep: bool, make: Any) -> None:
        survivor = make(created_at=days_ago(20))
        use(survivor, *runs(2))
        another(make, created_at=days_ago(20), review_status="approved", merged_into=survivor)
        archived(keep_approved=keep, **config)
        assert is_archived(survivor) != keep

    @pytest.mark.parametrize("config", [{"retention_days": 10}, {"max_uses": 2}])
    def test_what_a_person_took_out_of_the_archive_keeps_it(self, config: dict[str, int], make: Any) -> None:
        survivor = make(created_at=days_ago(20))
        use(survivor, *runs(2))
        merged = another(make, created_at=days_ago(20), merged_into=survivor, archived_at=NOW)
        curation.unarchive(pairs=type(merged)._default_manager.filter(pk=merged.pk), user=None)
        assert archived(**config) == {}

    def test_an_approved_one_follows_too(self, make: Any) -> None:
        another(make, review_status="approved", merged_into=make(archived_at=NOW))
        assert archived() == {"merged": 1}

    def test_its_own_age_archives_it(self, make: Any) -> None:
        survivor = make()
        old = another(make, created_at=days_ago(20), merged_into=survivor)
        another(make, created_at=days_ago(5), merged_into=survivor)
        another(make, created_at=days_ago(20), review_status="approved", merged_into=survivor)
        assert archived(retention_days=10) == {"merged": 1}
        assert is_archived(old)
        assert not is_archived(survivor)

    def test_a_chain_goes_to_its_end(self, make: Any) -> None:
        last = make(archived_at=NOW)
        another(make, merged_into=another(make, merged_into=last))
        assert archived() == {"merged": 2}


NUMBERS = iter(range(10**9))


def another(make: Any, **fields: Any) -> Any:
    """Store one more pair; no two preference pairs have the same texts."""
    return make(**({"chosen": f"Plain {next(NUMBERS)}."} if make is rows.preference_pair else {}), **fields)


@pytest.mark.parametrize("make", MAKE)
class TestTakenOut:
    def test_what_a_person_took_out_is_not_archived_again(self, make: Any) -> None:
        pair = make(created_at=days_ago(50))
        use(pair, *runs(2))
        archived(retention_days=10)
        assert is_archived(pair)
        curation.unarchive(pairs=type(pair)._default_manager.all(), user=None)
        assert archived(retention_days=10, max_uses=2) == {}

    def test_unless_it_is_rejected_for_long_since(self, make: Any) -> None:
        pair = make(created_at=days_ago(50), review_status="rejected", archived_at=days_ago(20))
        chosen = type(pair)._default_manager.all()
        curation.unarchive(pairs=chosen, user=None)
        at(days_ago(9))
        assert archived(rejected_days=10) == {}
        at(days_ago(11))
        assert archived(rejected_days=10) == {"rejected": 1}


def test_a_pair_is_counted_for_the_first_reason() -> None:
    pair = rows.sft_pair(created_at=days_ago(50), review_status="rejected")
    use(pair, *runs(2))
    assert archived(retention_days=10, max_uses=2, rejected_days=10) == {"age": 1}


def test_both_channels_are_counted_together() -> None:
    rows.sft_pair(created_at=days_ago(50))
    rows.preference_pair(created_at=days_ago(50))
    assert archived(retention_days=10) == {"age": 2}


def test_a_second_step_finds_nothing_more() -> None:
    rows.sft_pair(created_at=days_ago(50))
    archived(retention_days=10)
    assert archived(retention_days=10) == {}
    assert RowChange.objects.count() == 1


def test_small_transactions_take_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retiring, "ROWS_PER_TRANSACTION", 2)
    survivor = rows.sft_pair(created_at=days_ago(50))
    for _ in range(5):
        rows.sft_pair(created_at=days_ago(50))
        rows.sft_pair(created_at=days_ago(50), merged_into=survivor)
        rows.sft_pair(created_at=days_ago(50), review_status="rejected", archived_at=None)
    for pair in SftPair.objects.filter(review_status="rejected")[:3]:
        SftPair.objects.filter(pk=pair.pk).update(created_at=days_ago(15))
    assert archived(retention_days=20, rejected_days=10) == {"age": 8, "rejected": 3, "merged": 5}


def test_what_a_person_does_meanwhile_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, other = rows.sft_pair(created_at=days_ago(50)), rows.sft_pair(created_at=days_ago(50))
    find = retiring._keys

    def deciding(pairs: Any) -> list[int]:
        found = find(pairs)
        curation.approve(pairs=SftPair.objects.filter(pk=kept.pk), user=None)
        return found

    monkeypatch.setattr(retiring, "_keys", deciding)
    assert archived(retention_days=10) == {"age": 1}
    assert (is_archived(kept), is_archived(other)) == (False, True)


def test_the_night_can_be_undone(tmp_path: Path) -> None:
    survivor = rows.sft_pair(created_at=days_ago(50))
    rows.sft_pair(created_at=days_ago(50), merged_into=survivor)
    rows.preference_pair(created_at=days_ago(50))
    before = [list(model.objects.order_by("pk").values()) for model in (SftPair, PreferencePair)]
    step = night(retention_days=10)
    retire(step)
    report = undo(step.run, artifacts=tmp_path, using="default")
    assert report.restored == {"retire": {"memory.preferencepair": 1, "memory.sftpair": 2}}
    assert [list(model.objects.order_by("pk").values()) for model in (SftPair, PreferencePair)] == before


def test_everything_may_be_switched_off() -> None:
    pair = rows.sft_pair(created_at=days_ago(5_000), review_status="rejected")
    use(pair, *runs(30))
    assert archived() == {}
