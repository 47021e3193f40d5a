"""`manage.py restore_archive` brings exported pairs back, or says in a line why not."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from maintenance.archive import restoring
from maintenance.management.commands import restore_archive
from maintenance.models import ArchiveFile
from maintenance.nightly import night_lock
from memory.models import ExportedPair, SftPair
from tests.maintenance.archive import stock
from tests.memory import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, settings: Any) -> Path:
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path


def called(*arguments: object) -> str:
    out = StringIO()
    call_command("restore_archive", *map(str, arguments), stdout=out)
    return out.getvalue()


def report(*arguments: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(called(*arguments, "--json"))
    return content


def refused(*arguments: object) -> tuple[str, int]:
    with pytest.raises(CommandError) as error:
        called(*arguments)
    return str(error.value), error.value.returncode


def test_a_whole_file_comes_back(artifacts: Path) -> None:
    stock.stock()
    before = stock.dump()
    stock.exported(artifacts)
    (path,) = stock.files(artifacts)
    assert report(path.name) == {
        "dry_run": False,
        "files": [
            {
                "file": f"archive/{path.name}",
                "restored": {"sft": 3, "preference": 2},
                "present": {"sft": 0, "preference": 0},
                "refused": [],
                "proposals_waiting": 0,
                "cut_links": 0,
            }
        ],
    }
    assert stock.dump() == before


def test_the_terminal_says_what_came_back_and_that_it_is_archived(artifacts: Path) -> None:
    stock.stock()
    stock.exported(artifacts)
    (path,) = stock.files(artifacts)
    shown = called(path)
    assert path.name in shown
    assert "The pairs are archived still: take them out of the archive in the admin" in shown
    assert "archived still" not in called(path)


def test_single_pairs_come_back(artifacts: Path) -> None:
    memory, preferences = stock.stock()
    stock.exported(artifacts)
    (path,) = stock.files(artifacts)
    shown = called(path, "--pair", f"sft:{memory[0].pk}", f"preference:{preferences[1].pk}")
    assert stock.in_database() == {("sft", memory[0].pk), ("preference", preferences[1].pk)}
    assert "2 proposals wait for their other pair; restore that one, then this file again." in shown


def test_what_cannot_come_back_is_listed_and_is_code_3(artifacts: Path) -> None:
    memory, _ = stock.stock()
    stock.exported(artifacts)
    (path,) = stock.files(artifacts)
    rows.sft_pair(id=memory[0].pk)
    out = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("restore_archive", str(path), stdout=out)
    assert left.value.code == 3
    assert f"Not restored: sft:{memory[0].pk}: its key has been taken by another pair" in out.getvalue()


def test_links_that_were_cut_are_counted(artifacts: Path) -> None:
    memory, _ = stock.stock(sft=1, preference=0)
    stock.exported(artifacts)
    assert memory[0].conversation is not None
    memory[0].conversation.delete()
    (path,) = stock.files(artifacts)
    assert "3 links to what has been deleted since were cut." in called(path)


def test_a_dry_run_changes_nothing_and_says_the_same(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock.stock()
    stock.exported(artifacts)
    (path,) = stock.files(artifacts)
    if connection.vendor == "sqlite":
        # A copy of the file would be another connection, which a test in a transaction cannot have.
        monkeypatch.setattr(restore_archive, "rehearsal", rolled_back)
    planned = report(path, "--dry-run")
    assert stock.in_database() == set()
    assert ArchiveFile.objects.get().restored_at is None
    done = report(path)
    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert planned["files"] == done["files"]


class rolled_back:  # noqa: N801 - stands for a function
    def __init__(self, *, using: str, folder: Path) -> None:
        self._transaction = transaction.atomic(using=using)

    def __enter__(self) -> str:
        self._transaction.__enter__()
        return "default"

    def __exit__(self, *error: Any) -> None:
        transaction.set_rollback(True)
        self._transaction.__exit__(*error)


def test_a_merged_pair_and_its_survivor_come_from_two_files(artifacts: Path) -> None:
    survivor = rows.sft_pair()
    merged = rows.sft_pair(archived_at=stock.LONG_AGO, merged_into=survivor)
    stock.exported(artifacts)
    SftPair.objects.update(archived_at=stock.LONG_AGO)
    stock.exported(artifacts)
    first, second = stock.files(artifacts)
    done = report(first, second)
    assert [each["restored"].get("sft") for each in done["files"]] == [1, 1]
    assert SftPair.objects.get(pk=merged.pk).merged_into_id == survivor.pk


class TestBadInput:
    def test_no_file(self) -> None:
        assert refused() == ("FILE: got none, allowed are archive files; --list shows them", 1)

    def test_an_unknown_file(self, artifacts: Path) -> None:
        assert refused("pairs.jsonl.gz") == (f"{artifacts}/archive/pairs.jsonl.gz: no such file", 1)

    def test_a_database_that_is_not_migrated(self) -> None:
        MigrationRecorder(connection).record_unapplied("maintenance", "0001_initial")
        assert refused("pairs.jsonl.gz") == ("migrations are not applied; run `manage.py migrate`", 1)

    def test_one_bad_file_keeps_all_from_being_restored(self, artifacts: Path) -> None:
        stock.stock()
        stock.exported(artifacts)
        (path,) = stock.files(artifacts)
        message, code = refused(path, "pairs.jsonl.gz")
        assert (message, code) == (f"{artifacts}/archive/pairs.jsonl.gz: no such file", 1)
        assert stock.in_database() == set()

    def test_a_pair_that_is_in_no_file(self, artifacts: Path) -> None:
        stock.stock()
        stock.exported(artifacts)
        (path,) = stock.files(artifacts)
        assert refused(path, "--pair", "sft:99999") == ("--pair: got sft:99999, which is in none of the files", 1)

    @pytest.mark.parametrize("pair", ["12", "sft", "sft:", "sft:-1", "rumour:1", "sft:1;2"])
    def test_a_pair_that_is_none(self, pair: str) -> None:
        with pytest.raises(CommandError, match=rf"got {pair}, allowed are sft:ID and preference:ID"):
            called("pairs.jsonl.gz", "--pair", pair)

    def test_a_night_that_runs_is_code_4(self, artifacts: Path) -> None:
        with night_lock(artifacts):
            message, code = refused("pairs.jsonl.gz")
        assert code == 4
        assert "allowed is one night at a time" in message

    def test_a_database_that_fails_is_code_2(self, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stock.stock()
        stock.exported(artifacts)
        (path,) = stock.files(artifacts)

        def fail(*arguments: Any, **options: Any) -> Any:
            raise DatabaseError("database is locked")

        monkeypatch.setattr(restoring, "_place", fail)
        assert refused(path) == ("database is locked; call it again to restore the rest", 2)

    def test_a_stop_is_code_130(self, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stock.stock()
        stock.exported(artifacts)
        (path,) = stock.files(artifacts)

        def stop(*arguments: Any, **options: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(restoring, "_place", stop)
        assert refused(path) == ("stopped; call it again to restore the rest", 130)
        assert refused(path, "--dry-run") == ("stopped; nothing was changed", 130)


class TestList:
    def test_it_shows_all_files_with_what_is_in_them_and_what_is_back(self, artifacts: Path) -> None:
        memory, _ = stock.stock()
        stock.exported(artifacts)
        rows.preference_pair(chosen="Plain.", archived_at=stock.LONG_AGO)
        stock.exported(artifacts)
        whole, gone = stock.files(artifacts)
        called(whole, "--pair", f"sft:{memory[0].pk}")
        gone.unlink()
        first, second = ArchiveFile.objects.order_by("pk")
        assert report("--list") == {
            "files": [
                {
                    "file": whole.name,
                    "night": first.run_id,
                    "created": "2026-06-01T03:00:00Z",
                    "sft_pairs": 3,
                    "preference_pairs": 2,
                    "back": 1,
                    "restored": None,
                    "state": "ready",
                },
                {
                    "file": gone.name,
                    "night": second.run_id,
                    "created": "2026-06-01T03:00:00Z",
                    "sft_pairs": 0,
                    "preference_pairs": 1,
                    "back": 0,
                    "restored": None,
                    "state": "missing",
                },
            ]
        }

    def test_it_shows_when_a_file_was_restored(self, artifacts: Path) -> None:
        stock.stock()
        stock.exported(artifacts)
        called(*stock.files(artifacts))
        (listed,) = report("--list")["files"]
        assert (listed["back"], listed["restored"] is None) == (5, False)

    def test_it_shows_files_that_no_database_knows(self, artifacts: Path) -> None:
        stock.stock()
        stock.exported(artifacts)
        ArchiveFile.objects.all().delete()
        ExportedPair.objects.all().delete()
        (listed,) = report("--list")["files"]
        assert (listed["state"], listed["sft_pairs"], listed["night"]) == ("unknown to the database", 3, None)
        (path,) = stock.files(artifacts)
        path.with_name(path.name.replace(".jsonl.gz", ".manifest.json")).write_text("{")
        (listed,) = report("--list")["files"]
        assert (listed["file"], listed["created"], listed["sft_pairs"]) == (path.name, None, 0)
        assert path.name in called("--list")

    def test_it_says_where_there_are_none(self) -> None:
        assert called("--list") == "There are no archive files.\n"
        assert report("--list") == {"files": []}
