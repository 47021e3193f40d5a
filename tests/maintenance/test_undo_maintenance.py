"""`manage.py undo_maintenance`, as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django.fixtures import Settings

from maintenance.journal import change_rows
from maintenance.management.commands import undo_maintenance
from maintenance.models import MaintenanceRun, RowChange
from maintenance.nightly import night_folder, night_lock
from maintenance.steps import STEPS
from memory import curation
from memory.models import SftPair
from tests.maintenance import nights
from tests.memory import rows
from training.lock import LOCK_FILE

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path


def called(*arguments: object) -> tuple[int, str, str]:
    """Call the command; return exit code, output, error."""
    out = StringIO()
    try:
        call_command("undo_maintenance", *map(str, arguments), stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    except SystemExit as left:
        return int(left.code or 0), out.getvalue(), ""
    return 0, out.getvalue(), ""


def rewarded(*pairs: SftPair, step: str = "merge", of: MaintenanceRun | None = None) -> MaintenanceRun:
    """Let a night set the reward of pairs to 0.9."""
    night = nights.night(step, of=of)
    change_rows(night, ["reward_intensity"], [(pair.pk, 0.9) for pair in pairs], among=SftPair.objects.all())
    return night.run


def rewards() -> list[float]:
    return list(SftPair.objects.order_by("pk").values_list("reward_intensity", flat=True))


def test_a_database_that_is_not_migrated_is_refused_with_what_to_do() -> None:
    MigrationRecorder(connection).record_unapplied("maintenance", "0001_initial")
    assert called("last") == (1, "", "migrations are not applied; run `manage.py migrate`")


@pytest.mark.parametrize("by", [lambda run: run.pk, lambda run: "last"])
def test_a_night_is_undone_by_its_number_or_as_the_last(by: Callable[[MaintenanceRun], object]) -> None:
    rewarded(rows.sft_pair())
    run = rewarded(rows.sft_pair())
    code, out, error = called(by(run))
    assert (code, error) == (0, "")
    assert f"Night {run.pk}" in out
    assert "memory.sftpair" in out
    assert rewards() == [0.9, 0.5]


def test_what_was_left_is_listed_and_told_by_the_exit_code() -> None:
    kept, restored = rows.sft_pair(), rows.sft_pair()
    run = rewarded(kept, restored)
    curation.approve(pairs=SftPair.objects.filter(pk=kept.pk), user=None)
    code, out, _ = called("last")
    assert code == 3
    assert f"Left as it is: memory.sftpair {kept.pk} (merge): edited by a person on " in out
    assert rewards() == [0.9, 0.5]
    code, out, _ = called("last", "--json")
    assert code == 3
    report = json.loads(out)
    assert list(report) == ["dry_run", "run", "restored", "refused", "notes"]
    assert (report["dry_run"], report["run"], report["restored"]) == (False, run.pk, {})
    assert [(row["step"], row["table"], row["row"]) for row in report["refused"]] == [
        ("merge", "memory.sftpair", kept.pk)
    ]


def test_of_many_rows_that_were_left_the_terminal_shows_the_first() -> None:
    rewarded(*(rows.sft_pair() for _ in range(23)))
    SftPair.objects.update(reward_intensity=0.8)
    code, out, _ = called("last")
    assert code == 3
    assert out.count("Left as it is") == 20
    assert "… and 3 more; --json lists them all." in out
    assert "there is nothing to put back" in out
    assert len(json.loads(called("last", "--json")[1])["refused"]) == 23


def test_steps_are_chosen_by_name() -> None:
    run = rewarded(rows.sft_pair())
    rewarded(rows.sft_pair(), step="retire", of=run)
    rewarded(rows.sft_pair(), step="reemit", of=run)
    assert json.loads(called(run.pk, "--step", "retire", "--step", "reemit", "--json")[1])["restored"] == {
        "reemit": {"memory.sftpair": 1},
        "retire": {"memory.sftpair": 1},
    }
    assert rewards() == [0.9, 0.5, 0.5]


def test_a_dry_run_tells_and_changes_nothing(artifacts: Path) -> None:
    rewarded(rows.sft_pair())
    report = json.loads(called("last", "--dry-run", "--json")[1])
    assert (report["dry_run"], report["restored"]) == (True, {"merge": {"memory.sftpair": 1}})
    assert rewards() == [0.9]
    assert RowChange.objects.filter(undone_at=None).count() == 1
    assert [path.name for path in night_folder(artifacts).iterdir()] == [LOCK_FILE]
    assert "Dry run: nothing was changed." in called("last", "--dry-run")[1]
    assert json.loads(called("last", "--json")[1])["restored"] == report["restored"]


def test_a_night_that_died_is_undone_like_any_other() -> None:
    run = rewarded(rows.sft_pair())
    MaintenanceRun.objects.update(status="running")
    run.steps.update(status="running")
    assert called("last")[0] == 0
    assert rewards() == [0.5]
    run.refresh_from_db()
    assert run.status == "interrupted"


def test_what_cannot_be_undone_in_rows_is_told() -> None:
    run = rewarded(rows.sft_pair())
    nights.night("embed", of=run)
    assert "embed: vectors follow from the texts and stay" in called("last")[1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["first"], "night: got first, but no night has been yet"),
        (["last", "--step", "marge"], f"--step: got marge, allowed are {', '.join(STEPS)}"),
    ],
)
def test_what_is_no_night_and_no_step_is_refused(arguments: list[str], line: str) -> None:
    assert called(*arguments) == (1, "", line)


def test_a_number_that_no_night_has_is_refused() -> None:
    run = rewarded(rows.sft_pair())
    allowed = f"allowed are numbers of nights up to {run.pk}, and last"
    assert called(run.pk + 1) == (1, "", f"night: got {run.pk + 1}, {allowed}")


def test_nothing_is_undone_while_a_night_works(artifacts: Path) -> None:
    rewarded(rows.sft_pair())
    with night_lock(artifacts):
        code, _, error = called("last")
    assert code == 4
    assert error.endswith(" works here; allowed is one night at a time")
    assert rewards() == [0.9]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OperationalError("database is locked"), 2, "database is locked"),
        (OSError(28, "No space left"), 2, "[Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    rewarded(rows.sft_pair())
    monkeypatch.setattr(undo_maintenance, "undo", fail)
    assert called("last") == (code, "", f"{line}; call it again to undo the rest")
    assert called("last", "--dry-run") == (code, "", f"{line}; nothing was changed")
