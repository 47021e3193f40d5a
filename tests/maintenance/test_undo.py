"""A night can be taken back, but for what people and training did since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance import undo as undoing
from maintenance.journal import change_rows, create_rows, note_created
from maintenance.models import ArchiveFile, MaintenanceRun, MaintenanceStep, Proposal, RowChange
from maintenance.night import Night
from maintenance.steps.recluster import recluster
from maintenance.steps.retire import retire
from maintenance.undo import Refusal, UndoReport, UnknownNightError, find_night, undo
from memory import curation
from memory.embeddings import to_bytes
from memory.history import keep_originals, record
from memory.models import ExportedPair, PairEmbedding, PreferencePair, ReplayEntry, SftPair, TrainingPair
from memory.pair_vectors import forget_vectors
from tests.maintenance import nights
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 3, 1, 4, 5, 6, 789012, tzinfo=UTC)


def change(night: Night, pair: models.Model, **values: Any) -> None:
    """Change a pair as a step does."""
    model = type(pair)
    among = model._default_manager.all()
    assert change_rows(night, list(values), [(pair.pk, *values.values())], among=among) == [pair.pk]


def undone(run: MaintenanceRun, *steps: str) -> UndoReport:
    return undo(run, steps=steps or None, artifacts=Path("/nowhere"), using="default")


def reasons(report: UndoReport) -> list[str]:
    return [refusal.reason for refusal in report.refused]


def stored(*tables: type[models.Model]) -> list[list[dict[str, Any]]]:
    return [list(table._default_manager.order_by("pk").values()) for table in tables]


def maren() -> User:
    return User.objects.create(username="maren")


def use(pair: SftPair) -> TrainingRun:
    """Train a pair, as the ledger records it."""
    run = TrainingRun.objects.create(config_path="run.yaml", config={})
    PairUse.objects.create(run=run, sft_pair=pair, step=1, epoch=0, weight=1.0, content_hash=pair.content_hash)
    SftPair.objects.mark_used([pair.pk], training_epoch=0)
    return run


def test_all_that_a_night_changed_is_as_it_was() -> None:
    one = rows.sft_pair(is_used=True, used_timestamp=MOMENT, training_epoch=2, metadata={"a": [1, None]})
    other = rows.sft_pair(archived_at=MOMENT, reward_intensity=0.1 + 0.2)
    both = rows.preference_pair(margin=1 / 3)
    before = stored(SftPair, PreferencePair)
    run = nights.run()
    merge, retire = nights.night("merge", of=run), nights.night("retire", of=run)
    change(merge, one, merged_into_id=other.pk)
    change(merge, other, reward_intensity=0.9, metadata={"merged": [{"pair": one.pk}]}, loss=0.5)
    change(retire, one, archived_at=timezone.now())
    change(retire, other, archived_at=None)
    change(retire, both, archived_at=timezone.now(), margin=0.5)
    report = undone(run)
    assert stored(SftPair, PreferencePair) == before
    assert report.refused == []
    assert report.restored == {
        "retire": {"memory.preferencepair": 1, "memory.sftpair": 2},
        "merge": {"memory.sftpair": 2},
    }


def test_a_null_of_json_is_put_back_as_one() -> None:
    pair = rows.sft_pair()
    SftPair.objects.update(metadata=models.Value(None, models.JSONField()))
    night = nights.night("merge")
    change(night, pair, metadata={"merged": []})
    assert undone(night.run).refused == []
    assert SftPair.objects.filter(metadata=models.Value(None, models.JSONField())).exists()


def test_the_last_change_of_a_row_goes_back_first() -> None:
    pair = rows.sft_pair(reward_intensity=0.1)
    night = nights.night("merge")
    for reward in (0.2, 0.3, 0.4):
        change(night, pair, reward_intensity=reward)
    assert undone(night.run).refused == []
    pair.refresh_from_db()
    assert pair.reward_intensity == 0.1


def test_a_second_undo_finds_nothing_to_do() -> None:
    pair = rows.sft_pair()
    night = nights.night("merge")
    change(night, pair, reward_intensity=0.9)
    undone(night.run)
    change(nights.night("merge"), pair, reward_intensity=0.9)
    again = undone(night.run)
    assert (again.restored, again.refused) == ({}, [])
    pair.refresh_from_db()
    assert pair.reward_intensity == 0.9


def test_a_killed_undo_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [rows.sft_pair() for _ in range(5)]
    before = stored(SftPair)
    night = nights.night("merge")
    for pair in pairs:
        change(night, pair, reward_intensity=0.9)
    monkeypatch.setattr(undoing, "ROWS_PER_TRANSACTION", 2)
    put_back = undoing._put_back

    def dying(changes: Any, *, using: str) -> Any:
        done = put_back(changes, using=using)
        if pairs[2].pk in {each.row_id for each in changes}:
            raise SystemExit("killed")
        return done

    monkeypatch.setattr(undoing, "_put_back", dying)
    with pytest.raises(SystemExit):
        undone(night.run)
    # The first transaction stands, with what it noted; the second is gone, with what it had put back.
    assert list(SftPair.objects.order_by("pk").values_list("reward_intensity", flat=True)) == [0.9, 0.9, 0.9, 0.5, 0.5]
    assert RowChange.objects.filter(undone_at=None).count() == 3
    assert MaintenanceStep.objects.get().undone_at is not None
    monkeypatch.setattr(undoing, "_put_back", put_back)
    assert undone(night.run).restored == {"merge": {"memory.sftpair": 3}}
    assert stored(SftPair) == before


def test_steps_may_be_undone_alone() -> None:
    pair = rows.sft_pair()
    run = nights.run()
    change(nights.night("merge", of=run), pair, reward_intensity=0.9)
    change(nights.night("retire", of=run), pair, archived_at=MOMENT)
    assert list(undone(run, "merge", "extract").restored) == ["merge"]
    pair.refresh_from_db()
    assert (pair.reward_intensity, pair.archived_at) == (0.5, MOMENT)
    assert [step.undone_at is None for step in run.steps.order_by("pk")] == [False, True]


def test_another_night_is_left_alone() -> None:
    one, other = rows.sft_pair(), rows.sft_pair()
    night = nights.night("merge")
    change(night, one, reward_intensity=0.9)
    change(nights.night("merge"), other, reward_intensity=0.9)
    assert undone(night.run).restored == {"merge": {"memory.sftpair": 1}}
    other.refresh_from_db()
    assert other.reward_intensity == 0.9


def test_a_step_without_changes_does_not_count_as_undone() -> None:
    night = nights.night("merge")
    assert undone(night.run).restored == {}
    assert MaintenanceStep.objects.get().undone_at is None


def test_a_step_of_which_every_row_is_refused_does_not_count_as_undone() -> None:
    pair = rows.sft_pair()
    night = nights.night("merge")
    change(night, pair, reward_intensity=0.9)
    SftPair.objects.update(reward_intensity=0.8)
    assert reasons(undone(night.run)) == ["reward_intensity: changed since"]
    assert MaintenanceStep.objects.get().undone_at is None
    assert RowChange.objects.get().undone_at is None


def test_what_is_no_row_is_told_in_a_line() -> None:
    run = nights.run()
    for step in ("extract", "embed", "train", "housekeeping"):
        nights.night(step, of=run)
    run.steps.filter(name="train").update(status=MaintenanceStep.Status.SKIPPED)
    notes = undone(run).notes
    assert [note.partition(":")[0] for note in notes] == ["housekeeping", "embed"]


def test_what_a_person_did_since_is_kept() -> None:
    pairs = [rows.sft_pair() for _ in range(3)]
    edited, approved, untouched = pairs
    night = nights.night("retire")
    for pair in pairs:
        change(night, pair, archived_at=MOMENT)
    user = maren()
    keep_originals(SftPair.objects.filter(pk=edited.pk))
    SftPair.objects.filter(pk=edited.pk).update(response="Biscuit.")
    record(SftPair.objects.filter(pk=edited.pk), kind="~", user=user, reason="")
    curation.approve(pairs=SftPair.objects.filter(pk=approved.pk), user=None)
    SftPair.history.update(history_date=MOMENT)
    report = undone(night.run)
    assert report.refused == [
        Refusal("retire", "memory.sftpair", approved.pk, "edited by a person on 2026-03-01 04:05 UTC (approved)"),
        Refusal("retire", "memory.sftpair", edited.pk, "edited by maren on 2026-03-01 04:05 UTC"),
    ]
    assert report.restored == {"retire": {"memory.sftpair": 1}}
    for pair in pairs:
        pair.refresh_from_db()
    assert (edited.archived_at, approved.archived_at, untouched.archived_at) == (MOMENT, MOMENT, None)


def test_a_person_who_edits_after_the_clock_was_set_back_is_heard() -> None:
    pair = rows.sft_pair()
    night = nights.night("retire")
    change(night, pair, archived_at=MOMENT)
    curation.approve(pairs=SftPair.objects.all(), user=maren())
    SftPair.history.update(history_date=timezone.now() - timedelta(hours=1))
    assert len(undone(night.run).refused) == 1


def test_what_a_person_did_before_the_night_is_no_reason() -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=SftPair.objects.all(), user=maren())
    night = nights.night("retire")
    change(night, pair, archived_at=MOMENT)
    SftPair.history.update(history_date=timezone.now() + timedelta(hours=1))
    assert undone(night.run).refused == []


def test_extraction_is_no_person() -> None:
    pair = rows.sft_pair()
    night = nights.night("retire")
    change(night, pair, archived_at=MOMENT)
    keep_originals(SftPair.objects.all())
    record(SftPair.objects.all(), kind="~", user=None, reason="brought up to date with its message")
    assert undone(night.run).refused == []


def test_what_a_later_night_changed_is_undone_with_that_night_first() -> None:
    pair = rows.sft_pair(reward_intensity=0.1)
    first, second = nights.night("merge"), nights.night("merge")
    change(first, pair, reward_intensity=0.2)
    change(second, pair, reward_intensity=0.3, loss=1.0)
    assert reasons(undone(first.run)) == [f"changed again by merge of night {second.run.pk}"]
    assert undone(second.run).refused == []
    assert undone(first.run).refused == []
    pair.refresh_from_db()
    assert pair.reward_intensity == 0.1


def test_a_later_change_counts_though_the_value_is_the_same_again() -> None:
    pair = rows.sft_pair(reward_intensity=0.1)
    first, second = nights.night("merge"), nights.night("merge")
    for night, reward in ((first, 0.2), (second, 0.3), (second, 0.2)):
        change(night, pair, reward_intensity=reward)
    assert reasons(undone(first.run)) == [f"changed again by merge of night {second.run.pk}"]


def test_later_changes_of_other_columns_are_no_reason() -> None:
    pair = rows.sft_pair()
    first = nights.night("merge")
    change(first, pair, reward_intensity=0.2)
    change(nights.night("retire"), pair, archived_at=MOMENT)
    assert undone(first.run).refused == []
    pair.refresh_from_db()
    assert (pair.reward_intensity, pair.archived_at) == (0.5, MOMENT)


def test_a_re_emitted_pair_that_was_trained_since_is_kept() -> None:
    trained, waiting = rows.sft_pair(), rows.sft_pair()
    use(trained)
    use(waiting)
    night = nights.night("reemit")
    change(night, trained, is_used=False)
    change(night, waiting, is_used=False)
    run = use(trained)
    assert reasons(undone(night.run)) == [f"trained since by run {run.pk}"]
    waiting.refresh_from_db()
    assert waiting.is_used


def forget(pair: SftPair) -> None:
    forget_vectors(SftPair, [pair.pk], using="default")


def embed_anew(pair: SftPair) -> None:
    forget(pair)
    rows.embedding(pair, embedder="another", cluster=None)


def edit(pair: SftPair) -> None:
    curation.edit(pair=pair, field="response", text="Biscuit.", user=maren())


@pytest.mark.parametrize("lose", [forget, embed_anew, edit])
def test_the_label_of_a_vector_that_is_gone_is_nothing_to_put_back(lose: Callable[[SftPair], None]) -> None:
    pair, other = rows.sft_pair(), rows.sft_pair(instruction="And my cat?")
    first, second = rows.embedding(pair), rows.embedding(other)
    night = nights.night("recluster")
    change(night, first, cluster=1)
    change(night, second, cluster=1)
    lose(pair)

    report = undone(night.run)

    assert (report.restored, report.refused) == ({"recluster": {"memory.pairembedding": 1}}, [])
    assert set(PairEmbedding.objects.values_list("cluster", flat=True)) == {None}
    assert undone(night.run).restored == {}


def test_a_row_that_is_gone_is_named() -> None:
    pair = rows.sft_pair()
    night = nights.night("retire")
    change(night, pair, archived_at=MOMENT)
    SftPair.objects.all().delete()
    assert undone(night.run).refused == [Refusal("retire", "memory.sftpair", pair.pk, "is gone")]


def test_a_pair_does_not_come_to_point_at_one_that_is_gone() -> None:
    pair, survivor = rows.sft_pair(), rows.sft_pair()
    SftPair.objects.filter(pk=pair.pk).update(merged_into=survivor)
    night = nights.night("merge")
    change(night, pair, merged_into_id=None)
    gone = survivor.pk
    survivor.delete()
    assert reasons(undone(night.run)) == [f"merged_into_id: {gone}, as it was before, is gone"]


@pytest.mark.parametrize("member_first", [True, False])
@pytest.mark.parametrize("size", [1, 1000])
def test_a_group_that_was_merged_on_goes_back_whole(
    member_first: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, old, new = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    change(nights.night("merge"), member, merged_into_id=old.pk)
    before = stored(SftPair)
    night = nights.night("merge")
    for pair in (member, old) if member_first else (old, member):
        change(night, pair, merged_into_id=new.pk)
    monkeypatch.setattr(undoing, "ROWS_PER_TRANSACTION", size)
    assert undone(night.run).refused == []
    assert stored(SftPair) == before


def test_no_chain_is_left_where_the_earlier_survivor_stays_merged() -> None:
    member, old, new = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    change(nights.night("merge"), member, merged_into_id=old.pk)
    night = nights.night("merge")
    change(night, member, merged_into_id=new.pk)
    change(night, old, merged_into_id=new.pk)
    curation.approve(pairs=SftPair.objects.filter(pk=old.pk), user=maren())
    assert {refusal.row: refusal.reason.partition(" on ")[0] for refusal in undone(night.run).refused} == {
        old.pk: "edited by maren",
        member.pk: f"pair {old.pk}, which stood for it before, is merged into pair {new.pk} itself",
    }
    assert set(SftPair.objects.filter(merged_into=new).values_list("pk", flat=True)) == {member.pk, old.pk}


def test_a_value_that_no_longer_fits_its_row_is_refused_alone() -> None:
    released, kept = rows.sft_pair(), rows.sft_pair()
    night = nights.night("reemit")
    for pair in (released, kept):
        SftPair.objects.mark_used([pair.pk], training_epoch=0)
        change(night, pair, is_used=False)
    # As a run that failed lets go of its pairs: without a time, a pair cannot be used.
    SftPair.objects.filter(pk=released.pk).update(used_timestamp=None, training_epoch=None)
    report = undone(night.run)
    assert [refusal.row for refusal in report.refused] == [released.pk]
    assert reasons(report)[0].startswith("is_used: what was there before does not fit any more: ")
    kept.refresh_from_db()
    assert kept.is_used


def test_what_a_night_made_is_taken_away() -> None:
    before = stored(SftPair, PreferencePair, ReplayEntry, PairEmbedding)
    run = nights.run()
    extract = nights.night("extract", of=run)
    pair, preference, entry = rows.sft_pair(), rows.preference_pair(), rows.replay_entry()
    for row in (pair, preference, entry):
        note_created(extract, type(row), [row.pk])
    rows.embedding(pair)
    other = rows.sft_pair()
    before[0] = [row for row in stored(SftPair)[0] if row["id"] == other.pk]
    propose(nights.night("merge", of=run), other, pair)
    report = undone(run, "extract")
    assert report.refused == []
    assert report.restored == {"extract": {"memory.sftpair": 1, "memory.preferencepair": 1, "memory.replayentry": 1}}
    assert stored(SftPair, PreferencePair, ReplayEntry, PairEmbedding) == before
    assert not Proposal.objects.exists()
    assert not SftPair.history.exists()
    # The proposal went with its pair, so that nothing is left of it to undo.
    later = undone(run)
    assert (later.restored, later.refused) == ({}, [])


def test_a_text_that_is_put_back_does_not_keep_the_vector_of_the_other() -> None:
    renewed, rewarded = rows.sft_pair(), rows.sft_pair()
    night = nights.night("extract")
    change(night, renewed, response="Biscuit.", content_hash="other")
    change(night, rewarded, reward_intensity=0.9)
    rows.embedding(renewed)
    kept = rows.embedding(rewarded)
    undone(night.run)
    renewed.refresh_from_db()
    assert renewed.response == "Pixel."
    assert list(PairEmbedding.objects.values_list("pk", flat=True)) == [kept.pk]


def test_a_pair_that_was_exported_since_is_named_with_its_file() -> None:
    pair = rows.sft_pair()
    night = nights.night("retire")
    change(night, pair, archived_at=MOMENT)
    ExportedPair.objects.create(channel="sft", pair_id=pair.pk, content_hash=pair.content_hash, file="pairs-1.jsonl.gz")
    pair.delete()
    assert reasons(undone(night.run)) == ["is in the archive file pairs-1.jsonl.gz"]


def propose(night: Night, pair: SftPair, other: SftPair) -> Proposal:
    columns = ("run_id", "kind", "sft_pair_id", "other_sft_pair_id", "similarity", "reason", "status", "created_at")
    values = (night.run.pk, "correction", pair.pk, other.pk, 0.95, "names: A / B", "open", MOMENT)
    return Proposal.objects.get(pk=create_rows(night, Proposal, columns, [values])[0])


def made_and_relied_on() -> dict[str, Any]:
    """Return what may happen to a pair that a night made, by the reason that keeps it."""

    def approve(pair: SftPair) -> None:
        curation.approve(pairs=SftPair.objects.filter(pk=pair.pk), user=None)

    def stands_for(pair: SftPair) -> None:
        rows.sft_pair(id=1_000, merged_into=pair)

    def decide(pair: SftPair) -> None:
        Proposal.objects.create(
            kind="correction", sft_pair=rows.sft_pair(), other_sft_pair=pair, similarity=0.9, status="dismissed"
        )

    return {
        "edited by a person on": approve,
        "is approved": lambda pair: SftPair.objects.filter(pk=pair.pk).update(review_status="approved"),
        "trained by run ": use,
        "is used": lambda pair: SftPair.objects.mark_used([pair.pk], training_epoch=0),
        "stands for pair 1000": stands_for,
        "proposal ": decide,
        "changed again by retire of night ": lambda pair: change(nights.night("retire"), pair, archived_at=MOMENT),
    }


@pytest.mark.parametrize("reason", made_and_relied_on())
def test_what_a_night_made_stays_where_it_is_relied_on(reason: str) -> None:
    night = nights.night("extract")
    pair, unused = rows.sft_pair(), rows.sft_pair()
    note_created(night, SftPair, [pair.pk, unused.pk])
    made_and_relied_on()[reason](pair)
    report = undone(night.run)
    assert [(refusal.row, refusal.reason.startswith(reason)) for refusal in report.refused] == [(pair.pk, True)]
    assert SftPair.objects.filter(pk=pair.pk).exists()
    assert not SftPair.objects.filter(pk=unused.pk).exists()


def test_a_pair_that_was_edited_before_it_was_noted_stays() -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=SftPair.objects.all(), user=maren())
    curation.reopen(pairs=SftPair.objects.all(), user=User.objects.get())
    night = nights.night("extract")
    note_created(night, SftPair, [pair.pk])
    assert reasons(undone(night.run))[0].startswith("edited by maren on ")


def test_open_proposals_go_and_decided_ones_stay() -> None:
    pairs = [rows.sft_pair() for _ in range(3)]
    night = nights.night("merge")
    _, decided = (propose(night, pairs[0], other) for other in pairs[1:])
    Proposal.objects.filter(pk=decided.pk).update(status="accepted", decided_by=maren())
    report = undone(night.run)
    assert reasons(report) == [f"proposal {decided.pk} accepted by maren"]
    assert list(Proposal.objects.values_list("pk", flat=True)) == [decided.pk]
    assert report.restored == {"merge": {"maintenance.proposal": 1}}


def exported(artifacts: Path) -> tuple[MaintenanceRun, list[SftPair]]:
    """Let a night move two pairs that were archived long ago into a file, and archive a third one."""
    long_ago = timezone.now() - timedelta(days=900)
    pairs = [rows.sft_pair(archived_at=long_ago), rows.sft_pair(archived_at=long_ago)]
    pairs.append(rows.sft_pair(created_at=long_ago))
    night = nights.night("retire", artifacts=artifacts)
    assert retire(night).counts["exported_sft"] == 2
    assert SftPair.objects.count() == 1
    return night.run, pairs


def test_what_a_night_exported_comes_back(tmp_path: Path) -> None:
    run, pairs = exported(tmp_path)
    report = undo(run, artifacts=tmp_path, using="default")
    assert (report.restored, report.refused) == ({"retire": {"memory.sftpair": 3}}, [])
    assert list(SftPair.objects.order_by("pk")) == pairs
    assert [pair.archived_at is None for pair in SftPair.objects.order_by("pk")] == [False, False, True]
    assert run.steps.get().undone_at is not None
    again = undo(run, artifacts=tmp_path, using="default")
    assert (again.restored, again.refused) == ({}, [])


def test_an_archive_file_that_cannot_be_read_is_refused_and_the_rest_is_undone(tmp_path: Path) -> None:
    run, _ = exported(tmp_path)
    file = ArchiveFile.objects.get()
    (tmp_path / file.path).unlink()
    report = undo(run, artifacts=tmp_path, using="default")
    assert report.restored == {"retire": {"memory.sftpair": 1}}
    (refusal,) = report.refused
    assert (refusal.step, refusal.table, refusal.row) == ("retire", "maintenance.archivefile", file.pk)
    assert refusal.reason == f"{tmp_path / file.path}: no such file"
    assert SftPair.objects.get().archived_at is None


def test_a_pair_that_cannot_come_back_is_refused(tmp_path: Path) -> None:
    run, pairs = exported(tmp_path)
    # Under its key lies another pair by now.
    rows.sft_pair(pk=pairs[0].pk, created_at=MOMENT, instruction="Another question?")
    report = undo(run, artifacts=tmp_path, using="default")
    assert [(refusal.step, refusal.table, refusal.row) for refusal in report.refused] == [
        ("retire", "memory.sftpair", pairs[0].pk)
    ]
    assert report.restored == {"retire": {"memory.sftpair": 2}}


def test_the_clusters_before_come_back() -> None:
    embedder = FakeEmbedder()
    for number in range(8):
        pair = rows.sft_pair(instruction=f"question {number}")
        vector = to_bytes(embedder.encode([f"{number}"])[0])
        rows.embedding(pair, embedder=embedder.version, dimension=16, vector=vector)
    run = nights.run()
    recluster(nights.night("recluster", of=run, recluster={"k": 2}))
    assert set(PairEmbedding.objects.values_list("cluster", flat=True)) == {0, 1}
    report = undone(run)
    assert (report.restored, report.refused) == ({"recluster": {"maintenance.clustering": 1}}, [])
    assert set(PairEmbedding.objects.values_list("cluster", flat=True)) == {None}
    assert run.steps.get().undone_at is not None
    assert undone(run).restored == {}


def test_nights_are_found_by_number_or_as_the_last() -> None:
    with pytest.raises(UnknownNightError, match=r"^night: got last, but no night has been yet$"):
        find_night("last", using="default")
    first, last = nights.run(), nights.run()
    assert find_night("last", using="default") == last
    assert find_night(f"{first.pk}", using="default") == first
    for wrong in ("0", "-1", "first", "9" * 30):
        with pytest.raises(UnknownNightError) as caught:
            find_night(wrong, using="default")
        assert str(caught.value) == f"night: got {wrong}, allowed are numbers of nights up to {last.pk}, and last"


COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "merged_into_id": st.none() | st.integers(0, 5),
    "archived_at": st.none() | st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    "is_used": st.booleans(),
    "reward_intensity": st.floats(0, 1),
    "metadata": st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
        st.none() | st.integers() | st.floats(-1, 1) | st.lists(st.booleans(), max_size=2),
        max_size=2,
    ),
}
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["merge", "retire", "reemit"]),
        st.integers(0, 5),
        st.sampled_from(sorted(COLUMNS)).flatmap(lambda column: st.tuples(st.just(column), COLUMNS[column])),
    ),
    max_size=12,
)


def pool() -> list[SftPair]:
    return [
        rows.sft_pair(reward_intensity=number / 7, used_timestamp=MOMENT, training_epoch=0, is_used=number % 2 == 0)
        for number in range(6)
    ]


def journaled(pairs: list[TrainingPair], runs: list[MaintenanceRun], changes: list[Any]) -> None:
    """Let nights change the pairs, as far as the table allows."""
    # The nights come one after the other, and so do the steps of each.
    for night_number, step, number, (column, value) in sorted(changes, key=lambda each: (each[0], each[1])):
        if column == "merged_into_id" and value is not None:
            into = pairs[value]
            into.refresh_from_db()
            if value == number or into.merged_into_id is not None or SftPair.objects.filter(merged_into=pairs[number]):
                continue
            value = into.pk
        if column == "archived_at" and value is not None:
            value = value.replace(tzinfo=UTC)
        night = nights.night(step, of=runs[night_number])
        change_rows(night, [column], [(pairs[number].pk, value)], among=SftPair.objects.all())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, size=st.integers(1, 4))
def test_nights_undone_newest_first_leave_the_table_as_it_was(changes: list[Any], size: int) -> None:
    with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(undoing, "ROWS_PER_TRANSACTION", size)
        pairs: list[Any] = pool()
        before = stored(SftPair)
        runs = [nights.run() for _ in range(3)]
        journaled(pairs, runs, changes)
        for run in reversed(runs):
            assert undone(run).refused == []
        assert stored(SftPair) == before
        assert not RowChange.objects.filter(undone_at=None).exists()
        transaction.set_rollback(True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=CHANGES,
    later=CHANGES,
    edited=st.integers(0, 5),
    order=st.permutations([0, 1, 2]),
    column=st.sampled_from(["response", "reward_intensity", "review_status"]),
)
def test_undo_in_any_order_never_touches_what_a_person_edited(
    changes: list[Any], later: list[Any], edited: int, order: list[int], column: str
) -> None:
    with transaction.atomic():
        pairs: list[Any] = pool()
        runs = [nights.run() for _ in range(3)]
        journaled(pairs, runs, changes)
        chosen = SftPair.objects.filter(pk=pairs[edited].pk)
        keep_originals(chosen)
        chosen.update(
            **{column: {"response": "Biscuit.", "reward_intensity": 0.77, "review_status": "approved"}[column]}
        )
        record(chosen, kind="~", user=None, reason="by hand")
        after_edit = chosen.values().get()
        touched_later = {number for _, _, number, _ in later}
        if edited not in touched_later:
            journaled(pairs, [nights.run() for _ in range(3)], later)
        for number in order:
            undone(runs[number])
        assert chosen.values().get() == after_edit
        merged = SftPair.objects.exclude(merged_into=None)
        assert not merged.filter(merged_into__merged_into__isnull=False).exists()
        transaction.set_rollback(True)
