"""What comes back from an archive file is what went, in every column of every table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import IntegrityError, connection, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance.archive import restoring
from maintenance.archive.records import CHANNELS, insert_records
from maintenance.archive.restoring import RefusedPair, RestoreReport, known_files, restore_files
from maintenance.archive.retiring import archive_pairs
from maintenance.models import ArchiveFile, RowChange
from maintenance.steps.retire import retire
from memory import curation
from memory.models import Conversation, ExportedPair, PreferencePair, SftPair
from tests.maintenance import nights
from tests.maintenance.archive import stock
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


def restored(folder: Path, **options: Any) -> list[RestoreReport]:
    found = ArchiveFile.objects.order_by("pk")
    return restore_files(list(found), artifacts=folder, using="default", **options)


def test_archive_and_restore_is_the_identity(tmp_path: Path) -> None:
    stock.stock()
    before = stock.dump()
    outcome = stock.exported(tmp_path)
    assert (outcome.counts["exported_sft"], outcome.counts["exported_preference"], outcome.counts["files"]) == (3, 2, 1)
    assert stock.dump() == [[] for _ in stock.TABLES]
    (report,) = restored(tmp_path)
    assert stock.dump() == before
    assert (report.restored, sum(report.present.values()), report.refused) == ({"sft": 3, "preference": 2}, 0, [])
    assert (report.proposals_waiting, report.cut_links) == (0, 0)
    assert ArchiveFile.objects.get().restored_at is not None
    assert not ExportedPair.objects.away().exists()


def restart_keys() -> None:
    """Let the tables, which are empty, begin with the key 1, as those of a new database do."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DELETE FROM sqlite_sequence")
        for statement in connection.ops.sequence_reset_sql(no_style(), list(stock.TABLES)):
            cursor.execute(statement)


def newest_keys() -> list[int]:
    return [table._default_manager.latest("pk").pk for table in stock.TABLES]


def test_in_a_new_database_later_rows_get_keys_of_their_own(tmp_path: Path) -> None:
    stock.stock()
    before = stock.dump()
    stock.exported(tmp_path)
    restart_keys()
    restored(tmp_path)
    assert stock.dump() == before
    run, curator = TrainingRun.objects.get(), User.objects.get()
    highest = newest_keys()
    for pair in (rows.sft_pair(), rows.preference_pair(chosen="Another one.")):
        stock.belong(pair, run, curator)
    stock.propose(rows.sft_pair(), rows.sft_pair())
    assert all(new > old for new, old in zip(newest_keys(), highest, strict=True))


def test_keys_of_pairs_in_a_file_are_not_handed_out_again(tmp_path: Path) -> None:
    memory, _ = stock.stock()
    stock.exported(tmp_path)
    restored(tmp_path, only=[("sft", memory[0].pk)])
    assert rows.sft_pair().pk > memory[-1].pk


def test_a_second_restoration_finds_all_pairs_there(tmp_path: Path) -> None:
    memory, _ = stock.stock()
    stock.exported(tmp_path)
    restored(tmp_path)
    SftPair.objects.filter(pk=memory[0].pk).update(response="Edited since.", content_hash="1" * 64)
    before = stock.dump()
    (report,) = restored(tmp_path)
    assert stock.dump() == before
    assert (sum(report.restored.values()), report.present, report.refused) == (0, {"sft": 3, "preference": 2}, [])


def test_jsons_null_is_not_the_databases(tmp_path: Path) -> None:
    pair = rows.sft_pair(archived_at=stock.LONG_AGO)
    SftPair.objects.update(metadata=models.Value(None, models.JSONField()))
    stock.exported(tmp_path)
    restored(tmp_path)
    assert SftPair.objects.filter(pk=pair.pk, metadata=models.Value(None, models.JSONField())).exists()


def texts(min_size: int = 0) -> st.SearchStrategy[str]:
    # What either database can store: no NUL, no half of a surrogate pair.
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=min_size, max_size=8)


MOMENTS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2024, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts(), inner, max_size=2),
    max_leaves=5,
)
SHARED = {
    "created_at": MOMENTS,
    "archived_at": st.none() | MOMENTS,
    "confidence": st.floats(0, 1),
    "sampling_weight": st.floats(0, 1),
    "review_status": st.sampled_from(["pending", "approved", "rejected"]),
    "metadata": st.dictionaries(texts(), JSON, max_size=2),
    "used_timestamp": MOMENTS,
    "training_epoch": st.integers(0, 9),
    "is_used": st.booleans(),
}
PAIRS = st.lists(
    st.fixed_dictionaries({"row": st.fixed_dictionaries(SHARED), "channel": st.sampled_from(["sft", "preference"])}),
    min_size=1,
    max_size=7,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=PAIRS,
    merged=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=4),
    proposed=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=3),
    owning=st.lists(st.integers(0, 6), max_size=7),
    per_file=st.integers(1, 4),
    per_transaction=st.integers(1, 12),
    loss=st.none() | st.floats(0, allow_nan=False, allow_infinity=False),
)
def test_any_archive_restored_leaves_the_tables_as_they_were(
    pairs: list[dict[str, Any]],
    merged: list[tuple[int, int]],
    proposed: list[tuple[int, int]],
    owning: list[int],
    per_file: int,
    per_transaction: int,
    loss: float | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("artifacts")
    with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("maintenance.archive.exporting.PAIRS_PER_FILE", per_file)
        patch.setattr("maintenance.archive.exporting._PAIRS_PER_READ", 2)
        patch.setattr("maintenance.archive.removing.ROWS_PER_TRANSACTION", per_transaction)
        stored = [drawn_pair(each, number, loss=loss) for number, each in enumerate(pairs)]
        link(stored, merged, proposed)
        run = TrainingRun.objects.create(config_path="run.yaml", config={}, status=TrainingRun.Status.SUCCEEDED)
        for number in set(owning) & set(range(len(stored))):
            stock.belong(stored[number], run, None)
        # Those that are merged into an archived pair follow it first.
        archive_pairs(stock.retiring(folder))
        before = stock.dump()
        outcome = stock.exported(folder)
        gone = {(name, row.pk) for name, row in named(stored)} - stock.in_database()
        assert gone == stock.in_files(folder)
        assert outcome.counts["exported_sft"] + outcome.counts["exported_preference"] == len(gone)
        # Whoever stays has its survivor.
        for model in (SftPair, PreferencePair):
            assert merged_pairs(model) == [each for each in merged_into(before, model) if each[0] in present(model)]
        reports = restored(folder)
        assert not [refused for report in reports for refused in report.refused]
        assert stock.dump() == before
        transaction.set_rollback(True)


def drawn_pair(drawn: dict[str, Any], number: int, *, loss: float | None) -> Any:
    if drawn["channel"] == "sft":
        return rows.sft_pair(instruction=f"Question {number}", loss=loss, **drawn["row"])
    return rows.preference_pair(chosen=f"Plain {number}", **drawn["row"])


def named(stored: list[Any]) -> list[tuple[str, Any]]:
    return [("sft" if isinstance(pair, SftPair) else "preference", pair) for pair in stored]


def link(stored: list[Any], merged: list[tuple[int, int]], proposed: list[tuple[int, int]]) -> None:
    for one, other in merged:
        if valid(stored, one, other):
            pair, into = stored[one], stored[other]
            into.refresh_from_db()
            has_members = type(pair)._default_manager.filter(merged_into=pair).exists()
            if into.merged_into_id is None and not has_members:
                type(pair)._default_manager.filter(pk=pair.pk).update(merged_into=into)
    for one, other in dict.fromkeys(proposed):
        if valid(stored, one, other):
            stock.propose(stored[one], stored[other])


def valid(stored: list[Any], one: int, other: int) -> bool:
    return one != other and max(one, other) < len(stored) and type(stored[one]) is type(stored[other])


def merged_pairs(model: Any) -> list[tuple[int, int]]:
    return list(model.objects.exclude(merged_into=None).order_by("pk").values_list("pk", "merged_into_id"))


def merged_into(dump: list[list[dict[str, Any]]], model: Any) -> list[tuple[int, int]]:
    rows_of = dump[stock.TABLES.index(model)]
    return [(row["id"], row["merged_into_id"]) for row in rows_of if row["merged_into_id"] is not None]


def present(model: Any) -> set[int]:
    return set(model.objects.values_list("pk", flat=True))


def test_what_is_restored_stays_as_long_as_what_was_archived_then(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    restored(tmp_path)
    assert stock.exported(tmp_path).counts["files"] == 0
    ExportedPair.objects.update(restored_at=stock.NOW - timedelta(days=180))
    outcome = stock.exported(tmp_path)
    assert (outcome.counts["exported_sft"], outcome.counts["exported_preference"]) == (3, 2)


def test_a_pair_that_left_again_comes_from_the_newer_file(tmp_path: Path) -> None:
    pair = rows.sft_pair(archived_at=stock.LONG_AGO)
    stock.exported(tmp_path)
    restored(tmp_path)
    SftPair.objects.update(response="Edited since.")
    ExportedPair.objects.update(restored_at=stock.LONG_AGO)
    stock.exported(tmp_path)
    older, newer = restored(tmp_path)
    name = stock.files(tmp_path)[1].name
    reason = f"left the database again later: {name} has it as it was last"
    assert older.refused == [RefusedPair("sft", pair.pk, reason)]
    assert newer.restored == {"sft": 1, "preference": 0}
    assert SftPair.objects.get().response == "Edited since."


def test_single_pairs_come_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    memory, preferences = stock.stock()
    before = stock.dump()
    stock.exported(tmp_path)
    chosen = {("sft", memory[1].pk), ("preference", preferences[0].pk)}
    (report,) = restored(tmp_path, only=chosen)
    assert stock.in_database() == chosen
    assert report.restored == {"sft": 1, "preference": 1}
    # Their other pairs are still away.
    assert report.proposals_waiting == 2
    assert ArchiveFile.objects.get().restored_at is None
    assert PairUse.objects.count() == 4
    (report,) = restored(tmp_path)
    assert report.present == {"sft": 1, "preference": 1}
    assert stock.dump() == before


def test_a_proposal_between_two_files_comes_with_the_second_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maintenance.archive.exporting.PAIRS_PER_FILE", 1)
    stock.stock(sft=2, preference=0)
    before = stock.dump()
    stock.exported(tmp_path)
    one, other = ArchiveFile.objects.order_by("pk")
    for file, waiting in ((one, 1), (other, 0), (one, 0)):
        (report,) = restore_files([file], artifacts=tmp_path, using="default")
        assert report.proposals_waiting == waiting
    assert stock.dump() == before


def test_a_merged_pair_waits_for_the_one_that_stands_for_it(tmp_path: Path) -> None:
    survivor = rows.sft_pair(archived_at=stock.LONG_AGO)
    merged = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=survivor)
    stock.exported(tmp_path)
    (report,) = restored(tmp_path, only=[("sft", merged.pk)])
    reason = f"is merged into pair {survivor.pk}, which is not there: restore that one first"
    assert report.refused == [RefusedPair("sft", merged.pk, reason)]
    assert not SftPair.objects.exists()
    restored(tmp_path, only=[("sft", survivor.pk)])
    restored(tmp_path, only=[("sft", merged.pk)])
    assert SftPair.objects.get(pk=merged.pk).merged_into_id == survivor.pk


def test_a_pair_whose_survivor_was_merged_since_goes_to_that_ones_survivor(tmp_path: Path) -> None:
    last, survivor = rows.sft_pair(), rows.sft_pair()
    merged = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=survivor)
    stock.exported(tmp_path)
    SftPair.objects.filter(pk=survivor.pk).update(merged_into=last)
    restored(tmp_path)
    assert SftPair.objects.get(pk=merged.pk).merged_into_id == last.pk


def test_links_to_what_was_deleted_since_are_cut(tmp_path: Path) -> None:
    stock.stock()
    before = stock.dump()
    stock.exported(tmp_path)
    Conversation.objects.all().delete()
    User.objects.all().delete()
    TrainingRun.objects.all().delete()
    (report,) = restored(tmp_path)
    assert report.refused == []
    assert not PairUse.objects.exists()
    # Of 3 memory pairs the conversation and two messages, of 2 preference pairs the conversation, of each of the 5 a
    # record by the curator and two uses, and who decided about a proposal.
    assert report.cut_links == 3 * 3 + 2 + 5 * 3 + 1
    pair = dict(before[0][0])
    cut = {"conversation_id": None, "user_message_id": None, "assistant_message_id": None}
    assert SftPair.objects.filter(pk=pair["id"]).values().get() == {**pair, **cut}
    assert not SftPair.history.exclude(history_user=None).exists()


def taken_keys() -> dict[str, Any]:
    """Return what may have taken a place since, by the reason that a pair cannot come back."""

    def other_pair(pair: SftPair) -> None:
        rows.sft_pair(id=pair.pk, instruction="Another?")

    def same_message(pair: SftPair) -> None:
        rows.sft_pair(id=1_000, assistant_message_id=pair.assistant_message_id)

    def other_use(pair: SftPair) -> None:
        run = TrainingRun.objects.get()
        use = {"step": 7, "epoch": 0, "weight": 1.0, "content_hash": "0" * 64}
        PairUse.objects.create(id=USE.get("id"), run=run, sft_pair=rows.sft_pair(id=1_000), **use)

    return {
        "its key has been taken by another pair": other_pair,
        "pair 1000 has been made of the same message since": same_message,
        "has been taken by another row": other_use,
    }


USE: dict[str, int] = {}


@pytest.mark.parametrize("reason", taken_keys())
def test_a_pair_whose_place_was_taken_is_named_and_the_others_come(reason: str, tmp_path: Path) -> None:
    memory, _ = stock.stock()
    pair = memory[1]
    USE["id"] = PairUse.objects.filter(sft_pair=pair).earliest("pk").pk
    stock.exported(tmp_path)
    taken_keys()[reason](pair)
    (report,) = restored(tmp_path)
    ((channel, key, told),) = [(each.channel, each.pair, each.reason) for each in report.refused]
    assert (channel, key) == ("sft", pair.pk)
    assert told.endswith(reason)
    assert report.restored == {"sft": 2, "preference": 2}
    assert ArchiveFile.objects.get().restored_at is None


def test_a_preference_that_was_stored_again_is_named(tmp_path: Path) -> None:
    _, preferences = stock.stock()
    stock.exported(tmp_path)
    again = rows.preference_pair(chosen=preferences[0].chosen)
    (report,) = restored(tmp_path)
    reason = f"pair {again.pk} has been made of the same content since"
    assert report.refused == [RefusedPair("preference", preferences[0].pk, reason)]
    assert report.restored == {"sft": 3, "preference": 1}


def test_what_the_database_refuses_is_named_and_the_others_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, _ = stock.stock()
    stock.exported(tmp_path)
    place = restoring._place

    def refusing(records: Any, **options: Any) -> Any:
        placed = place(records, **options)
        if any(record.name_and_key == ("sft", memory[1].pk) for record in records):
            raise IntegrityError("no\nroom")
        return placed

    monkeypatch.setattr(restoring, "_place", refusing)
    (report,) = restored(tmp_path)
    assert report.refused == [RefusedPair("sft", memory[1].pk, "no room")]
    assert report.restored == {"sft": 2, "preference": 2}
    assert not PairUse.objects.filter(sft_pair=memory[1].pk).exists()


def test_a_killed_restoration_leaves_whole_pairs_and_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock.stock()
    before = stock.dump()
    stock.exported(tmp_path)
    monkeypatch.setattr("maintenance.archive.removing.ROWS_PER_TRANSACTION", 5)
    calls = []

    def dying(table: Any, given_rows: Any, *, using: str) -> None:
        calls.append(table)
        # In the middle of the second pair's rows.
        if len(calls) == 8:
            raise SystemExit("killed")
        insert_records(table, given_rows, using=using)

    monkeypatch.setattr("maintenance.archive.restoring.insert_records", dying)
    with pytest.raises(SystemExit):
        restored(tmp_path)
    assert SftPair.objects.count() == 1
    (key,) = SftPair.objects.values_list("pk", flat=True)
    assert set(PairUse.objects.values_list("sft_pair", flat=True)) == {key}
    monkeypatch.setattr("maintenance.archive.restoring.insert_records", insert_records)
    (report,) = restored(tmp_path)
    assert sum(report.present.values()) == 1
    assert stock.dump() == before


def test_a_restored_pair_is_archived_still_and_a_person_takes_it_out(tmp_path: Path) -> None:
    stock.stock(sft=1, preference=0)
    stock.exported(tmp_path)
    restored(tmp_path)
    assert not SftPair.objects.trainable().exists()
    curation.unarchive(pairs=SftPair.objects.all(), user=None)
    assert SftPair.objects.trainable().count() == 1


def test_a_file_that_another_database_wrote_is_put_on_record(tmp_path: Path) -> None:
    stock.stock()
    before = stock.dump()
    stock.exported(tmp_path)
    ArchiveFile.objects.all().delete()
    ExportedPair.objects.all().delete()
    known = known_files(stock.files(tmp_path), pairs=(), artifacts=tmp_path, using="default")
    restore_files(known, artifacts=tmp_path, using="default")
    assert stock.dump() == before
    row = ArchiveFile.objects.get()
    assert (row.sft_pairs, row.preference_pairs, row.created_at) == (3, 2, stock.NOW)
    assert row.removed_at is not None


def test_the_journal_stays_when_pairs_leave(tmp_path: Path) -> None:
    pair = rows.sft_pair(created_at=stock.LONG_AGO)
    retire(stock.retiring(tmp_path, of=nights.run(), retention_days=365))
    SftPair.objects.update(archived_at=stock.LONG_AGO)
    stock.exported(tmp_path)
    assert not SftPair.objects.exists()
    assert RowChange.objects.get().row_id == pair.pk


def test_every_table_that_names_a_pair_is_thought_of() -> None:
    for channel in CHANNELS.values():
        naming = {relation.related_model for relation in channel.model._meta.related_objects}
        assert naming == {*channel.belongings.values(), channel.model} - {channel.history}
        assert channel.history._meta.pk.attname == "history_id"


def test_a_manifest_that_is_not_the_one_on_record_is_refused(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    ArchiveFile.objects.update(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"its manifest was changed: the database has another checksum$"):
        restored(tmp_path)
    assert stock.in_database() == set()
