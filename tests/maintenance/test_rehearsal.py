"""What a dry run works on vanishes, and is the same as what a real run works on.

These tests are in a transaction, where nothing is copied; `test_nightly_maintenance` rehearses on copies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections

from maintenance.models import MaintenanceRun
from maintenance.night import Night, StepOutcome
from maintenance.nightly import night_folder
from maintenance.rehearsal import rehearsal
from memory.models import SftPair
from tests.maintenance.conftest import Stage
from tests.maintenance.staging import archive_all
from tests.maintenance.test_nightly import statuses, taken
from tests.memory import rows
from training.lock import LOCK_FILE

pytestmark = pytest.mark.django_db


def dump() -> dict[str, list[dict[str, Any]]]:
    """Return every row of the project's tables."""
    own = [apps.get_app_config(label) for label in ("memory", "training", "maintenance")]
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for app in own
        for model in app.get_models()
    }


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != LOCK_FILE)


def test_a_dry_run_changes_no_row_and_leaves_no_file(tmp_path: Path, stage: Stage) -> None:
    def fall_half_way(night: Night) -> StepOutcome:
        archive_all(night)
        with connections[night.using].cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")
        return StepOutcome()

    for _number in range(3):
        rows.sft_pair()
    stage(merge=fall_half_way, retire=archive_all)
    before = dump()
    report, _said = taken(tmp_path, "merge", "retire", dry_run=True)
    assert statuses(report) == {"merge": "failed", "retire": "succeeded"}
    assert (report["run"], report["report"]) == (None, None)
    assert dump() == before
    assert files(tmp_path) == ["maintenance"]


def test_the_counts_of_a_dry_run_are_those_of_the_real_run_that_follows(tmp_path: Path, stage: Stage) -> None:
    def use_the_first(night: Night) -> StepOutcome:
        pairs = SftPair.objects.using(night.using).filter(archived_at=None)
        return StepOutcome({"unarchived": pairs.count()})

    for _number in range(3):
        rows.sft_pair()
    # The second step sees what the first one did, in either run.
    stage(retire=archive_all, recluster=use_the_first)
    counts = [
        {name: step["counts"] for name, step in taken(tmp_path, "retire", "recluster", dry_run=dry)[0]["steps"].items()}
        for dry in (True, False)
    ]
    assert counts == [{"retire": {"archived": 3}, "recluster": {"unarchived": 0}}] * 2
    assert SftPair.objects.filter(archived_at=None).count() == 0
    assert MaintenanceRun.objects.count() == 1


def test_an_interrupted_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    pair = rows.sft_pair()
    with pytest.raises(KeyboardInterrupt), rehearsal(using="default", folder=tmp_path) as alias:
        SftPair.objects.using(alias).update(category="changed")
        assert SftPair.objects.using(alias).get().category == "changed"
        raise KeyboardInterrupt
    pair.refresh_from_db()
    assert pair.category != "changed"
    assert files(tmp_path) == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_killed_dry_run_left_is_cleared_away(dry_run: bool, tmp_path: Path) -> None:
    left = night_folder(tmp_path) / ".dry-run-abc"
    left.mkdir(parents=True)
    (left / "copy.sqlite3").write_text("half a copy")
    taken(tmp_path, dry_run=dry_run)
    assert not left.exists()
