"""What a reference said is kept for as long as its adapter is there."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintenance.housekeeping.stored_references import stale_references
from tests.maintenance.training_runs import fill

NOW = datetime(2026, 6, 1, 3, tzinfo=UTC)
BASE, KEPT, GONE, GOING = ("b" * 16, "c" * 16, "d" * 16, "e" * 16)


def stored(artifacts: Path, name: str, *, days: float = 31) -> str:
    path = artifacts / "references" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))
    return name


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    fill(tmp_path / "lora" / "run-20260101T000000Z-1", checksum=KEPT + "0" * 48)
    fill(tmp_path / "lora" / "run-20260101T000000Z-2", checksum=GOING + "0" * 48)
    return tmp_path


def stale(artifacts: Path, *, going: tuple[str, ...] = ()) -> list[str]:
    return [path.name for path in stale_references(artifacts, going=going, now=NOW)]


def test_those_of_adapters_that_are_gone_go_after_a_month(artifacts: Path) -> None:
    old = stored(artifacts, f"{BASE}-{GONE}-no.json")
    stored(artifacts, f"{BASE}-{GONE}-bf16.json", days=29)
    stored(artifacts, f"{BASE}-{KEPT}-no.json")
    stored(artifacts, f"{BASE}-base-no.json")
    assert stale(artifacts) == [old]


def test_an_adapter_that_is_about_to_go_holds_none(artifacts: Path) -> None:
    name = stored(artifacts, f"{BASE}-{GOING}-no.json")
    assert stale(artifacts) == []
    assert stale(artifacts, going=("lora/run-20260101T000000Z-2",)) == [name]


def test_other_files_are_none_of_its_business(artifacts: Path, tmp_path: Path) -> None:
    stored(artifacts, "notes.json")
    stored(artifacts, f".{BASE}-{GONE}-no.json.partial")
    (artifacts / "references" / f"{BASE}-{GONE}-no.json").symlink_to(tmp_path / "elsewhere")
    assert stale(artifacts) == []


def test_a_damaged_manifest_holds_none(artifacts: Path) -> None:
    name = stored(artifacts, f"{BASE}-{KEPT}-no.json")
    (artifacts / "lora" / "run-20260101T000000Z-1" / "manifest.json").write_text("{")
    assert stale(artifacts) == [name]


def test_artifacts_without_any_have_none(tmp_path: Path) -> None:
    assert stale(tmp_path) == []
