"""The command `import_conversations`."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memory.models import Conversation
from tests.memory.test_importing import said, sharegpt, talk


def run_command(*arguments: Any) -> tuple[str, int, str]:
    """Return output, exit code and error of the command."""
    out = StringIO()
    try:
        call_command("import_conversations", *map(str, arguments), stdout=out)
    except CommandError as error:
        return out.getvalue(), error.returncode, str(error)
    return out.getvalue(), 0, ""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([sharegpt("Hi", "Hello"), sharegpt(name="empty")]))
    return path


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps([sharegpt("Hi", "Hello", name="s2"), sharegpt("Hi", name="s3")])[:-10])
    return path


@pytest.mark.django_db
def test_json_is_one_object_with_every_count(export: Path) -> None:
    out, code, error = run_command(export, "--json")

    assert (code, error) == (0, "")
    counts = {
        "conversations": 1,
        "messages": 2,
        "preference_pairs": 0,
        "sft_pairs": 0,
        "updated": 0,
        "already_present": 0,
        "left_out": 0,
    }
    reason = "conversations: no messages"
    assert json.loads(out) == {
        **counts,
        "skipped": [{"where": f"{export}: record 2", "reason": reason}],
        "files": [
            {
                "path": str(export),
                "format": "sharegpt",
                **counts,
                "skipped": [{"where": "record 2", "reason": reason}],
                "error": None,
            }
        ],
    }


@pytest.mark.django_db
def test_the_summary_names_what_is_new_and_the_first_of_what_was_skipped(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([sharegpt("Hi", "Hello"), *(sharegpt(name=f"e{number}") for number in range(7))]))

    out, code, _ = run_command(path)

    assert code == 0
    assert out.splitlines() == [
        f"{path} (sharegpt): 1 new conversations, 2 new messages",
        *(f"  skipped record {number}: conversations: no messages" for number in range(2, 7)),
        "  skipped 2 more; --json names them all",
    ]
    assert run_command(path)[0].splitlines()[0] == f"{path} (sharegpt): 1 records already present"


@pytest.mark.django_db
def test_a_file_that_is_cut_off_ends_with_code_3_and_keeps_what_is_whole(cut_off: Path) -> None:
    out, code, error = run_command(cut_off, "--json")

    size = cut_off.stat().st_size
    assert (code, error) == (3, f"{cut_off}: cut off at byte {size}: the file ends inside a record")
    assert json.loads(out)["files"][0]["error"] == f"cut off at byte {size}: the file ends inside a record"
    assert [each.external_id for each in Conversation.objects.all()] == ["s2"]


@pytest.mark.django_db
def test_strict_refuses_any_damage_with_code_1(cut_off: Path, export: Path) -> None:
    out, code, error = run_command(export, cut_off, "--strict", "--json")

    assert code == 1
    size = cut_off.stat().st_size
    assert error == (
        f"Nothing was stored (--strict). {cut_off}: cut off at byte {size}: the file ends inside a record; "
        "1 records could not be read"
    )
    assert json.loads(out)["conversations"] == 0
    assert not Conversation.objects.exists()


@pytest.mark.django_db
def test_a_refused_file_is_one_line_and_code_1_and_the_others_are_imported(tmp_path: Path, export: Path) -> None:
    gone = tmp_path / "gone.json"

    out, code, error = run_command(gone, export, "--json")

    assert (code, error) == (1, f"{gone}: no such file or directory")
    assert json.loads(out)["conversations"] == 1
    assert json.loads(out)["files"][0]["error"] == "no such file or directory"


@pytest.mark.django_db
def test_a_refused_file_outweighs_one_that_is_cut_off(tmp_path: Path, cut_off: Path) -> None:
    assert run_command(tmp_path / "gone.json", cut_off)[1] == 1


@pytest.mark.django_db
def test_a_dry_run_says_so_and_stores_nothing(export: Path) -> None:
    out, code, _ = run_command(export, "--dry-run")

    assert code == 0
    assert out.splitlines()[:2] == [
        "Dry run: nothing was stored.",
        f"{export} (sharegpt): 1 new conversations, 2 new messages",
    ]
    assert not Conversation.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("since", "stored"), [("2026-01-01", 1), ("2026-01-01T00:00:01+00:00", 0)])
def test_since_takes_a_date_or_a_time(tmp_path: Path, since: str, stored: int) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text(json.dumps(talk(said("a", None, "user"), updated_at="2026-01-01T00:00:00Z")))

    out, _, _ = run_command(path, "--since", since, "--json")

    assert (json.loads(out)["conversations"], json.loads(out)["left_out"]) == (stored, 1 - stored)


def test_a_wrong_date_and_a_wrong_format_are_refused_with_what_is_allowed(export: Path) -> None:
    _, code, error = run_command(export, "--since", "yesterday")
    assert (code, error) == (
        1,
        "Error: argument --since: got 'yesterday', allowed ISO 8601 such as 2026-01-31 or 2026-01-31T08:00Z",
    )
    assert "invalid choice: 'floppy'" in run_command(export, "--format", "floppy")[2]


@pytest.mark.django_db
def test_a_named_format_that_the_file_does_not_have_is_refused(export: Path) -> None:
    assert run_command(export, "--format", "claude")[1:] == (1, f"{export}: looks like sharegpt, not claude")
    assert not Conversation.objects.exists()
