"""The command `extract_sft_pairs`."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memory.models import Message, SftPair
from tests.memory.extraction.talks import answer, asked, rate, think

pytestmark = pytest.mark.django_db


def run_command(*arguments: Any) -> str:
    out = StringIO()
    call_command("extract_sft_pairs", *map(str, arguments), stdout=out)
    return out.getvalue()


def run_json(*arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_command(*arguments, "--json"))
    return found


def refused(*arguments: Any) -> str:
    with pytest.raises(CommandError) as found:
        run_command(*arguments)
    return str(found.value)


def test_json_is_one_object_with_every_count() -> None:
    answer(asked(), "Pixel.")
    answer(asked(name="c2"), "")

    found = run_json("--all")

    assert found.pop("seconds") >= 0
    assert found == {
        "conversations": 2,
        "assistant_turns": 2,
        "created": 1,
        "existing": 0,
        "refreshed": 0,
        "dropped": {"response_too_short": 1},
        "preference_pairs_created": 0,
        "replay_entries_created": 0,
        "exported": 0,
    }


def test_the_summary_tells_the_same_in_words() -> None:
    rate(asked(), "Pixel.", 1.0)
    answer(asked(name="c2"), "")

    lines = run_command("--all-conversations").splitlines()

    assert lines[0].startswith("2 conversations with 2 assistant turns in ")
    assert lines[0].endswith(" s: 1 memory pairs created, 0 there already, 0 brought up to date")
    assert lines[1:] == ["0 preference pairs created, 1 replay entries", "  dropped 1: response too short"]


def test_without_a_selection_nothing_happens() -> None:
    answer(asked(), "Pixel.")

    assert refused() == "got no conversations, allowed --all, --conversation-id ID or --since ISO"
    assert SftPair.objects.count() == 0


def test_one_conversation_is_named_by_its_id_or_its_external_id() -> None:
    said = answer(asked(name="first"), "Pixel.")
    answer(asked(name="second"), "Biscuit.")

    assert run_json("--conversation-id", said.conversation_id)["created"] == 1
    assert run_json("--conversation-id", "second")["created"] == 1


def test_an_unknown_conversation_is_named() -> None:
    expected = "--conversation-id: got 'c9', allowed the id or the external id of a stored conversation"

    assert refused("--conversation-id", "c9") == expected


def test_a_name_of_two_conversations_is_explained() -> None:
    first = asked(name="c1").conversation
    second = asked(name="c1", source_system="chatgpt").conversation

    assert refused("--conversation-id", "c1") == (
        "--conversation-id: got 'c1', which fits several conversations; allowed the id of one: "
        f"{first.pk} (native c1), {second.pk} (chatgpt c1)"
    )


def test_all_and_one_contradict_each_other() -> None:
    assert refused("--all", "--conversation-id", 1) == "got both --all and --conversation-id, allowed one of them"


def test_since_takes_an_iso_time_and_refuses_another() -> None:
    said = answer(asked(), "Pixel.")

    assert run_json("--since", said.created_at.isoformat())["created"] == 1
    assert "got 'yesterday', allowed ISO 8601" in refused("--since", "yesterday")


def test_every_switch_reaches_the_extraction() -> None:
    first = asked("Hello.")
    greeting = answer(first, "Hi!")
    think(first, "They greet.")

    assert run_json("--all", "--include-introspection", "--include-context")["created"] == 2
    Message.objects.filter(pk=greeting.pk).update(content="Hi there!")
    assert run_json("--all")["refreshed"] == 0
    assert run_json("--all", "--no-skip-existing")["refreshed"] == 1


def test_a_dry_run_stores_nothing_and_says_so() -> None:
    answer(asked(), "Pixel.")

    assert run_command("--all", "--dry-run").splitlines()[0] == "Dry run: nothing was stored."
    assert SftPair.objects.count() == 0


def test_pairs_are_exported_after_the_extraction(tmp_path: Path) -> None:
    answer(asked(), "Pixel.")
    path = tmp_path / "pairs.jsonl"

    assert run_json("--all", "--export-jsonl", path)["exported"] == 1
    assert json.loads(path.read_text())["completion"] == [{"role": "assistant", "content": "Pixel."}]


def test_an_impossible_export_is_refused_before_anything_is_extracted(tmp_path: Path) -> None:
    answer(asked(), "Pixel.")
    path = tmp_path / "missing" / "pairs.jsonl"

    assert refused("--all", "--export-jsonl", path) == (
        f"--export-jsonl: got {path}, allowed a file in a folder that exists"
    )
    assert refused("--all", "--dry-run", "--export-jsonl", tmp_path / "a") == (
        "got both --dry-run and --export-jsonl, allowed one of them: a dry run writes nothing"
    )
    assert SftPair.objects.count() == 0


def test_an_export_is_refused_before_the_extraction_where_its_folder_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(asked(), "Pixel.")
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)

    assert refused("--all", "--export-jsonl", tmp_path / "a") == (
        f"--export-jsonl: got {tmp_path / 'a'}, allowed a file in a folder that can be written to"
    )
    assert SftPair.objects.count() == 0


def test_an_export_that_fails_all_the_same_is_one_line(tmp_path: Path) -> None:
    answer(asked(), "Pixel.")
    # Its temporary name, which is longer, has more than the 255 bytes that a file system takes.
    path = tmp_path / ("a" * 250)

    assert refused("--all", "--export-jsonl", path) == (
        f"--export-jsonl: got {path}, which cannot be written (File name too long)"
    )
    assert SftPair.objects.count() == 1


def run_process(tmp_path: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, whose configured database is empty."""
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'default.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    command = [sys.executable, "-m", "django", "extract_sft_pairs", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def other_database(tmp_path: Path) -> Path:
    """Another database file of this project, with one conversation."""
    path = tmp_path / "other.sqlite3"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{path}", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    program = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "from tests.memory.extraction.talks import answer, asked, think\n"
        "from memory.switches import turn\n"
        "turn('INTROSPECTION_IN_SFT', on=True)\n"
        "user = asked(); answer(user, 'Pixel.'); think(user, 'They have a dog.')\n"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return path


def test_another_database_file_is_worked_on_with_its_own_switches(other_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"

    run = run_process(tmp_path, "--all", "--db-path", other_database, "--export-jsonl", path, "--json")

    assert (run.returncode, run.stderr) == (0, "")
    found = json.loads(run.stdout)
    assert (found["created"], found["exported"]) == (2, 2)
    with closing(sqlite3.connect(other_database)) as connection:
        assert connection.execute("SELECT count(*) FROM memory_sftpair").fetchone() == (2,)


def test_a_file_that_is_no_database_of_this_project_is_refused(tmp_path: Path) -> None:
    missing, text, empty = tmp_path / "missing", tmp_path / "text", tmp_path / "empty.sqlite3"
    text.write_text("This is no database. " * 100)
    empty.touch()

    def error(path: Path) -> str:
        run = run_process(tmp_path, "--all", "--db-path", path)
        assert (run.returncode, run.stdout) == (1, "")
        return run.stderr

    assert error(missing) == f"CommandError: --db-path: {missing}: no such file\n"
    assert error(text) == f"CommandError: --db-path: {text}: got no SQLite database (file is not a database)\n"
    assert "migrations are not applied" in error(empty)
    assert error(empty).endswith(f"run `DATABASE_URL=sqlite:///{empty} python manage.py migrate`\n")
