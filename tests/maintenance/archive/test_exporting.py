"""Pairs leave the database for files, and none is ever in neither."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from maintenance.archive import exporting, files
from maintenance.archive.files import check_content, finished_files, read_manifest, records_of, write_archive
from maintenance.archive.restoring import restore_files
from maintenance.config import NightlyConfig
from maintenance.models import ArchiveFile
from maintenance.night import Night, PartlyDoneError, StepOutcome
from maintenance.nightly import NightOrder, run_night
from maintenance.steps.retire import retire
from memory import curation
from memory.models import ExportedPair, PairEmbedding, PreferencePair, SftPair
from tests.maintenance import nights
from tests.maintenance.archive import stock
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


def test_what_was_archived_long_ago_moves_into_one_file_with_a_manifest(tmp_path: Path) -> None:
    memory, preferences = stock.stock()
    run = nights.run()
    outcome = retire(stock.retiring(tmp_path, of=run))
    name = f"pairs-20260601T030000Z-night{run.pk}-1"
    assert stock.everything(tmp_path) == [f"{name}.jsonl.gz", f"{name}.manifest.json"]
    (path,) = stock.files(tmp_path)
    manifest = json.loads(path.with_name(f"{name}.manifest.json").read_text())
    assert {key: manifest[key] for key in ("format", "created", "sft_pairs", "preference_pairs")} == {
        "format": 1,
        "created": "2026-06-01T03:00:00Z",
        "sft_pairs": 3,
        "preference_pairs": 2,
    }
    newest = MigrationLoader(connection).graph.leaf_nodes()
    assert manifest["migrations"] == {app: name for app, name in newest if app in ("memory", "training", "maintenance")}
    row = ArchiveFile.objects.get()
    assert (row.run, row.path, row.sha256) == (run, f"archive/{name}.jsonl.gz", manifest["sha256"])
    assert (row.sft_pairs, row.preference_pairs, row.created_at) == (3, 2, stock.NOW)
    assert row.removed_at is not None
    assert outcome.counts == {
        **dict.fromkeys(("archived_age", "archived_uses", "archived_rejected", "archived_merged", "kept"), 0),
        "exported_sft": 3,
        "exported_preference": 2,
        "files": 1,
    }
    assert stock.in_files(tmp_path) == {
        *(("sft", pair.pk) for pair in memory),
        *(("preference", pair.pk) for pair in preferences),
    }


def test_a_file_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    (path,) = stock.files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_equal_pairs_make_equal_bytes(tmp_path: Path) -> None:
    stock.stock()
    contents = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        with transaction.atomic():
            stock.exported(folder)
            transaction.set_rollback(True)
        (path,) = stock.files(folder)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    # Neither a time nor a file's name in the header of gzip (RFC 1952).
    assert (contents[0][3], contents[0][4:8]) == (0, bytes(4))


@pytest.mark.parametrize(
    ("days", "leaves"), [(180, True), (180 - 1e-5, False), (0, False)], ids=["long", "not yet", "just now"]
)
def test_a_pair_leaves_once_it_has_been_archived_for_long(days: float, leaves: bool, tmp_path: Path) -> None:
    rows.sft_pair(archived_at=stock.NOW - timedelta(days=days))
    assert stock.exported(tmp_path).counts["exported_sft"] == leaves


def test_what_is_not_archived_stays(tmp_path: Path) -> None:
    rows.sft_pair(created_at=stock.LONG_AGO)
    assert stock.exported(tmp_path).counts["files"] == 0
    assert not (tmp_path / "archive").exists()


def test_nothing_leaves_where_the_config_says_so(tmp_path: Path) -> None:
    stock.stock()
    assert stock.exported(tmp_path, export_after_days=None).counts["exported_sft"] == 0
    assert SftPair.objects.count() == 3


@pytest.mark.parametrize(("status", "leaves"), [("running", 0), ("interrupted", 0), ("failed", 1), ("succeeded", 1)])
def test_a_pair_of_an_unfinished_run_stays(status: str, leaves: int, tmp_path: Path) -> None:
    pair = rows.sft_pair(archived_at=stock.LONG_AGO)
    run = TrainingRun.objects.create(config_path="run.yaml", config={}, status=status)
    stock.belong(pair, run, None)
    assert stock.exported(tmp_path).counts["exported_sft"] == leaves


class TestGroups:
    def test_a_survivor_leaves_with_all_that_it_stands_for_and_they_come_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "PAIRS_PER_FILE", 2)
        survivor, alone, *merged = [rows.sft_pair(archived_at=stock.LONG_AGO) for _ in range(5)]
        SftPair.objects.filter(pk__in=[pair.pk for pair in merged]).update(merged_into=survivor)
        assert stock.exported(tmp_path).counts["files"] == 2
        written = [[each.key for each in records_of(path)] for path in stock.files(tmp_path)]
        assert written == [[*(pair.pk for pair in merged), survivor.pk], [alone.pk]]

    def test_a_survivor_stays_with_a_pair_that_stays(self, tmp_path: Path) -> None:
        survivor = rows.sft_pair(archived_at=stock.LONG_AGO)
        young = rows.sft_pair(archived_at=stock.NOW, merged_into=survivor)
        open_survivor = rows.sft_pair(archived_at=stock.LONG_AGO)
        unarchived = rows.sft_pair(merged_into=open_survivor)
        old = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=survivor)
        stock.exported(tmp_path)
        assert set(SftPair.objects.all()) == {survivor, young, open_survivor, unarchived}
        assert stock.in_files(tmp_path) == {("sft", old.pk)}

    def test_a_chain_leaves_as_one(self, tmp_path: Path) -> None:
        last = rows.sft_pair(archived_at=stock.LONG_AGO)
        middle = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=last)
        first = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=middle)
        before = stock.dump()
        stock.exported(tmp_path)
        (path,) = stock.files(tmp_path)
        assert [each.key for each in records_of(path)] == [first.pk, middle.pk, last.pk]
        restore_files(list(ArchiveFile.objects.all()), artifacts=tmp_path, using="default")
        assert stock.dump() != before
        # Every pair of it stands behind the last one now.
        assert set(SftPair.objects.exclude(pk=last.pk).values_list("merged_into", flat=True)) == {last.pk}

    def test_a_chain_stays_with_its_first_pair_where_that_was_changed_since_it_was_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = rows.sft_pair(archived_at=stock.LONG_AGO)
        middle = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=last)
        first = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=middle)

        def writing(*arguments: Any, **options: Any) -> Any:
            done = write_archive(*arguments, **options)
            curation.approve(pairs=SftPair.objects.filter(pk=first.pk), user=None)
            return done

        monkeypatch.setattr(exporting, "write_archive", writing)
        kept = stock.exported(tmp_path).details["kept"]
        assert {each["pair"]: each["reason"] for each in kept} == {
            first.pk: "changed since it was written",
            middle.pk: f"stands for pair {first.pk}",
            last.pk: f"stands for pair {middle.pk}",
        }
        assert SftPair.objects.count() == 3


def edits() -> dict[str, Callable[[SftPair], object]]:
    """Return what may happen to a pair between its writing and its deletion."""
    run = {"config_path": "run.yaml", "config": {}, "status": "running"}
    return {
        "approved": lambda pair: curation.approve(pairs=SftPair.objects.filter(pk=pair.pk), user=None),
        "taken out": lambda pair: curation.unarchive(pairs=SftPair.objects.filter(pk=pair.pk), user=None),
        "by hand": lambda pair: SftPair.objects.filter(pk=pair.pk).update(category="dogs"),
        "by the last bit": lambda pair: SftPair.objects.filter(pk=pair.pk).update(confidence=0.33333333333333337),
        "trained": lambda pair: stock.belong(SftPair.objects.get(pk=pair.pk), TrainingRun.objects.create(**run), None),
        "embedded anew": lambda pair: PairEmbedding.objects.filter(sft_pair=pair).update(vector=b"12"),
        "proposed": lambda pair: stock.propose(pair, SftPair.objects.get(pk=2_000)),
        "merged into": lambda pair: SftPair.objects.filter(pk=2_000).update(merged_into=pair),
    }


@pytest.mark.parametrize("edit", edits())
def test_a_pair_that_changed_since_it_was_written_stays(
    edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, _ = stock.stock()
    other = rows.sft_pair(id=2_000)
    if edit == "trained":
        PairEmbedding.objects.filter(sft_pair=memory[1]).delete()

    def writing(*arguments: Any, **options: Any) -> Any:
        done = write_archive(*arguments, **options)
        edits()[edit](memory[1])
        return done

    monkeypatch.setattr(exporting, "write_archive", writing)
    outcome = stock.exported(tmp_path)
    assert set(SftPair.objects.all()) == {memory[1], other}
    assert (outcome.counts["exported_sft"], outcome.counts["kept"]) == (2, 1)
    reason = "stands for pair 2000" if edit == "merged into" else "changed since it was written"
    assert outcome.details["kept"] == [{"channel": "sft", "pair": memory[1].pk, "reason": reason}]
    assert outcome.details["examples"] == [{"kind": "kept", "about": f"sft:{memory[1].pk}: {reason}"}]
    assert not ExportedPair.objects.filter(pair_id=memory[1].pk, channel="sft").exists()


def test_a_pair_that_was_taken_out_before_it_was_written_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, _ = stock.stock(preference=0)
    path_of = exporting._new_path

    def deciding(*arguments: Any) -> Path:
        curation.unarchive(pairs=SftPair.objects.filter(pk=memory[1].pk), user=None)
        return path_of(*arguments)

    monkeypatch.setattr(exporting, "_new_path", deciding)
    outcome = stock.exported(tmp_path)
    assert stock.in_files(tmp_path) == {("sft", memory[0].pk), ("sft", memory[2].pk)}
    assert (outcome.counts["exported_sft"], outcome.counts["kept"]) == (2, 0)


def test_two_pairs_of_one_proposal_leave_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maintenance.archive.removing.ROWS_PER_TRANSACTION", 1)
    stock.stock()
    outcome = stock.exported(tmp_path)
    assert (outcome.counts["exported_sft"], outcome.counts["exported_preference"], outcome.counts["kept"]) == (3, 2, 0)


def test_a_second_night_finds_nothing_more(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    before = stock.everything(tmp_path)
    assert stock.exported(tmp_path).counts["exported_sft"] == 0
    assert stock.everything(tmp_path) == before


def test_a_file_of_another_database_is_never_written_over(tmp_path: Path) -> None:
    stock.stock()
    run = nights.run()
    older = tmp_path / "archive" / f"pairs-20260601T030000Z-night{run.pk}-1.jsonl.gz"
    older.parent.mkdir()
    older.write_bytes(b"kept")
    older.with_name(older.name.replace(".jsonl.gz", ".manifest.json")).write_text("{}")
    outcome = partly(stock.retiring(tmp_path, of=run))
    assert older.read_bytes() == b"kept"
    assert outcome.details["files"] == [f"pairs-20260601T030000Z-night{run.pk}-2.jsonl.gz"]
    assert outcome.details["problems"][0].startswith(f"{older.parent}/pairs-20260601T030000Z-night{run.pk}-1.manifest")


def test_a_dry_run_writes_no_file_and_counts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAIRS_PER_FILE", 2)
    stock.stock()
    survivor = rows.sft_pair(archived_at=stock.LONG_AGO)
    for _ in range(3):
        rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=survivor)
    rows.sft_pair(created_at=stock.LONG_AGO)
    run = nights.run()
    before = stock.dump()
    with transaction.atomic():
        planned = retire(stock.retiring(tmp_path, of=run, dry_run=True, retention_days=365))
        transaction.set_rollback(True)
    assert stock.dump() == before
    assert not (tmp_path / "archive").exists()
    done = retire(stock.retiring(tmp_path, of=run, retention_days=365))
    assert planned.counts == done.counts
    assert planned.details["files"] == done.details["files"]
    assert (done.counts["exported_sft"], done.counts["files"], done.counts["archived_age"]) == (7, 4, 1)


def test_a_dry_run_counts_what_a_killed_night_left_and_leaves_it(tmp_path: Path) -> None:
    stock.stock()
    run = nights.run()
    with killed_before_removal(), pytest.raises(Killed):
        retire(stock.retiring(tmp_path, of=run))
    left = tmp_path / "archive" / ".pairs-x.jsonl.gz.partial"
    left.touch()
    before = stock.dump(), stock.everything(tmp_path)
    with transaction.atomic():
        planned = retire(stock.retiring(tmp_path, of=run, dry_run=True))
        transaction.set_rollback(True)
    assert (stock.dump(), stock.everything(tmp_path)) == before
    assert planned.counts == retire(stock.retiring(tmp_path, of=run)).counts
    assert (planned.counts["exported_sft"], planned.counts["files"]) == (3, 0)
    assert not left.exists()


class TestFullDisk:
    @pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
    def test_the_pairs_stay_and_no_file_does(self, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stock.stock()
        before = stock.dump()
        with full_disk(call), pytest.raises(PartlyDoneError, match="No space left on device") as failed:
            stock.exported(tmp_path)
        assert stock.dump() == before
        assert stock.everything(tmp_path) == []
        assert failed.value.outcome.counts["exported_sft"] == 0
        assert stock.exported(tmp_path).counts["exported_sft"] == 3

    def test_what_was_exported_before_stays_so_and_is_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "PAIRS_PER_FILE", 3)
        stock.stock()
        rows.sft_pair(created_at=stock.LONG_AGO)
        write, calls = files._write_lines, []

        def filling(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            return write(*arguments)

        monkeypatch.setattr(files, "_write_lines", filling)
        with pytest.raises(PartlyDoneError) as failed:
            stock.exported(tmp_path, retention_days=365)
        assert failed.value.outcome.counts == {
            "archived_age": 1,
            "archived_uses": 0,
            "archived_rejected": 0,
            "archived_merged": 0,
            "exported_sft": 3,
            "exported_preference": 0,
            "files": 1,
            "kept": 0,
        }
        assert PreferencePair.objects.count() == 2
        assert len(stock.everything(tmp_path)) == 2

    def test_a_file_that_reads_otherwise_than_it_was_written_is_no_archive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stock.stock()
        before = stock.dump()
        write = files._write_lines

        def damaging(path: Path, records: Any) -> Any:
            done = write(path, records)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            return done

        monkeypatch.setattr(files, "_write_lines", damaging)
        with pytest.raises(PartlyDoneError, match="damaged: got the checksum"):
            stock.exported(tmp_path)
        assert (stock.dump(), stock.everything(tmp_path)) == (before, [])


@contextmanager
def full_disk(call: str) -> Iterator[None]:
    """Let one kind of call find the disk full."""

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        if call == "open":
            opened = Path.open
            patch.setattr(
                Path, "open", lambda path, mode="r", **named: (fail if "w" in mode else opened)(path, mode, **named)
            )
        elif call == "write":
            patch.setattr(files._Measured, "write", fail)
        elif call == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        yield


def partly(night: Night) -> StepOutcome:
    """Take a step that finds something wrong, and return what it did all the same."""
    with pytest.raises(PartlyDoneError) as failed:
        retire(night)
    problems = failed.value.outcome.details["problems"]
    assert str(failed.value) == "; ".join(problems)
    assert failed.value.outcome.details["notes"][: len(problems)] == problems
    return failed.value.outcome


class Killed(BaseException):
    """The process is dead: nothing that it would do on its way out happens any more."""


@contextmanager
def killed(*, after: int) -> Iterator[list[str]]:
    """Die at the write number `after`, from 0, to files or the database; yield the writes that happened."""
    happened: list[str] = []

    def step(name: str) -> None:
        if len(happened) >= after:
            raise Killed
        happened.append(name)

    def statement(execute: Any, sql: Any, parameters: Any, many: bool, context: Any) -> Any:
        # To die before something is read is to die before what is written next.
        if str(sql).startswith(("INSERT", "UPDATE", "DELETE")):
            step("sql")
        return execute(sql, parameters, many, context)

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            step(name)
            return call(*arguments, **options)

        return stepping

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(statement):
        for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (files._Measured, "write")):
            patch.setattr(owner, name, counted(name, getattr(owner, name)))
        yield happened


@pytest.mark.slow
def test_killed_at_any_point_the_next_night_completes_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAIRS_PER_FILE", 2)
    monkeypatch.setattr("maintenance.archive.removing.ROWS_PER_TRANSACTION", 9)
    (survivor, merged), _ = stock.stock(sft=2, preference=1)
    SftPair.objects.filter(pk=merged.pk).update(merged_into=survivor)
    before, all_pairs = stock.dump(), stock.in_database()
    whole = len(writes(tmp_path_factory.mktemp("whole")))
    assert whole > 30
    seen = set()
    for point in range(whole):
        folder = tmp_path_factory.mktemp("killed")
        with transaction.atomic():
            with killed(after=point) as happened, pytest.raises(Killed):
                stock.exported(folder)
            seen.add(happened[-1] if happened else "nothing")
            # Every pair is in the database or in a file that is whole.
            for path in finished_files(folder / "archive"):
                check_content(path, read_manifest(path))
            gone = all_pairs - stock.in_database()
            assert gone <= stock.in_files(folder)
            assert not SftPair.objects.filter(pk=merged.pk, merged_into=None).exists()
            stock.exported(folder)
            assert stock.in_database() == set()
            # No half file is left, none is without its row, and every pair is in one alone.
            assert len(stock.everything(folder)) == 2 * ArchiveFile.objects.count()
            assert not ArchiveFile.objects.filter(removed_at=None).exists()
            held = [each.name_and_key for path in stock.files(folder) for each in records_of(path)]
            assert sorted(held) == sorted(all_pairs)
            if point % 5 == 0:
                restore_files(list(ArchiveFile.objects.all()), artifacts=folder, using="default")
                assert stock.dump() == before
            transaction.set_rollback(True)
    assert seen == {"nothing", "sql", "replace", "fsync", "write"}


def writes(folder: Path) -> list[str]:
    with transaction.atomic(), killed(after=10**9) as happened:
        stock.exported(folder)
        transaction.set_rollback(True)
    return happened


class TestLeftovers:
    def test_a_restored_pair_of_an_unfinished_file_is_not_taken_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        memory, _ = stock.stock(preference=0)
        stock.exported(tmp_path)
        ArchiveFile.objects.update(removed_at=None)
        restore_files(
            list(ArchiveFile.objects.all()), artifacts=tmp_path, using="default", only=[("sft", memory[0].pk)]
        )
        outcome = stock.exported(tmp_path)
        assert outcome.details["kept"] == [
            {"channel": "sft", "pair": memory[0].pk, "reason": "came back from this file"}
        ]
        assert stock.in_database() == {("sft", memory[0].pk)}

    def test_a_file_that_was_restored_is_let_alone(self, tmp_path: Path) -> None:
        stock.stock()
        before = stock.dump()
        stock.exported(tmp_path)
        restore_files(list(ArchiveFile.objects.all()), artifacts=tmp_path, using="default")
        ArchiveFile.objects.update(removed_at=None)
        assert stock.exported(tmp_path).details["kept"] == []
        assert stock.dump() == before
        assert ArchiveFile.objects.get().removed_at is None

    def test_an_unfinished_file_that_was_damaged_is_told_and_its_pairs_go_into_another(self, tmp_path: Path) -> None:
        stock.stock()
        with killed_before_removal(), pytest.raises(Killed):
            stock.exported(tmp_path)
        (damaged,) = stock.files(tmp_path)
        damaged.write_bytes(damaged.read_bytes()[:-9])
        outcome = partly(stock.retiring(tmp_path))
        assert len(outcome.details["problems"]) == 1
        assert outcome.details["problems"][0].startswith(f"{damaged}: damaged: got the checksum ")
        assert damaged.exists()
        assert outcome.counts["exported_sft"] == 3
        assert len(stock.files(tmp_path)) == 2

    def test_a_file_on_record_without_a_manifest_is_never_removed(self, tmp_path: Path) -> None:
        stock.stock()
        stock.exported(tmp_path)
        (path,) = stock.files(tmp_path)
        files.manifest_path(path).unlink()
        outcome = partly(stock.retiring(tmp_path))
        assert path.exists()
        assert outcome.details["problems"] == [f"{path}: its manifest {files.manifest_path(path).name} is missing"]


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class TestDamages:
    @pytest.mark.parametrize("config", [{}, {"export_after_days": None}], ids=["exporting", "not exporting"])
    @pytest.mark.parametrize("dry_run", [False, True])
    def test_a_file_of_an_earlier_night_that_is_damaged_fails_the_step_and_what_is_due_goes_all_the_same(
        self, config: dict[str, Any], dry_run: bool, tmp_path: Path
    ) -> None:
        stock.stock()
        stock.exported(tmp_path)
        (damaged,) = stock.files(tmp_path)
        spoil(damaged)
        pair = rows.sft_pair(archived_at=stock.LONG_AGO)
        outcome = partly(stock.retiring(tmp_path, dry_run=dry_run, **config))
        (problem,) = outcome.details["problems"]
        assert problem.startswith(f"{damaged}: damaged: got the checksum ")
        assert SftPair.objects.filter(pk=pair.pk).exists() == bool(config)

    def test_the_morning_report_names_it(self, tmp_path: Path) -> None:
        stock.stock()
        stock.exported(tmp_path)
        (damaged,) = stock.files(tmp_path)
        spoil(damaged)
        order = NightOrder(
            config=NightlyConfig(),
            config_path=Path("nightly.yaml"),
            steps=["retire"],
            dry_run=False,
            artifacts=tmp_path,
            project=tmp_path,
        )
        done = run_night(order, say=lambda line: None, now=stock.NOW)
        assert (done["status"], done["steps"]["retire"]["status"]) == ("failed", "failed")
        page = (Path(done["report"]) / "report.md").read_text()
        assert "> **retire** failed: " in page
        assert f"/archive/{damaged.name}: damaged: got the checksum" in page

    def test_files_that_are_gone_with_the_only_copy_of_their_pairs_fail_the_step(self, tmp_path: Path) -> None:
        for _ in range(5):
            rows.sft_pair(archived_at=stock.LONG_AGO)
            stock.exported(tmp_path)
        names = [Path(file.path).name for file in ArchiveFile.objects.order_by("pk")]
        for path in stock.files(tmp_path):
            path.unlink()
        pair = rows.sft_pair(archived_at=stock.LONG_AGO)
        outcome = partly(stock.retiring(tmp_path))
        line = f"Archive files that are not there any more: {', '.join(names[:3])} and 2 more."
        assert (outcome.details["problems"], outcome.details["notes"]) == ([line], [line])
        assert not SftPair.objects.filter(pk=pair.pk).exists()
        ArchiveFile.objects.filter(path__endswith=names[0]).delete()
        ArchiveFile.objects.update(restored_at=stock.NOW)
        assert stock.exported(tmp_path).details["notes"] == []

    def test_a_file_that_a_killed_night_left_and_that_is_gone_is_told_and_no_failure(self, tmp_path: Path) -> None:
        rows.sft_pair(archived_at=stock.LONG_AGO)
        with killed_before_removal(), pytest.raises(Killed):
            stock.exported(tmp_path)
        (path,) = stock.files(tmp_path)
        path.unlink()
        ArchiveFile.objects.update(removed_at=None)
        outcome = stock.exported(tmp_path)
        assert outcome.details["notes"] == [f"Archive files that are not there any more: {path.name}."]
        assert outcome.counts["exported_sft"] == 1

    def test_a_file_whose_pairs_are_all_back_may_be_damaged(self, tmp_path: Path) -> None:
        stock.stock()
        stock.exported(tmp_path)
        restore_files(list(ArchiveFile.objects.all()), artifacts=tmp_path, using="default")
        spoil(*stock.files(tmp_path))
        assert stock.exported(tmp_path).details["problems"] == []


@contextmanager
def killed_before_removal() -> Iterator[None]:
    def die(*arguments: Any, **options: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "remove_pairs", die)
        yield


def test_nothing_of_a_pair_is_left_but_what_keeps_it_from_being_made_again(tmp_path: Path) -> None:
    memory, preferences = stock.stock(sft=2, preference=1)
    SftPair.objects.filter(pk=memory[0].pk).update(metadata={"collapsed_drafts": [{"message": 7}]})
    stock.exported(tmp_path)
    assert not PairUse.objects.exists()
    (name,) = [path.name for path in stock.files(tmp_path)]
    columns = ("channel", "pair_id", "content_hash", "message", "other_message", "collapsed", "file", "restored_at")
    assert list(ExportedPair.objects.order_by("channel", "pair_id").values_list(*columns)) == [
        ("preference", preferences[0].pk, preferences[0].content_hash, None, None, [], name, None),
        *(
            ("sft", pair.pk, pair.content_hash, pair.assistant_message_id, None, drafts, name, None)
            for pair, drafts in zip(memory, ([{"message": 7}], []), strict=True)
        ),
    ]
