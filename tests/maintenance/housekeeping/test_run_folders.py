"""Old runs go; what anybody could still need stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance.housekeeping import run_folders as module
from maintenance.housekeeping.run_folders import Removal, UnknownAncestorsError, clear_run_folders, run_roots
from maintenance.models import MaintenanceStep
from tests.maintenance import nights
from tests.maintenance.training_runs import FIRST, fill, run, set_parent, working_folder
from training.artifacts import activate
from training.lock import folder_lock
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

NOW = FIRST + timedelta(days=100)
FAILED = TrainingRun.Status.FAILED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "lora" / "test"
    folder.mkdir(parents=True)
    return folder


def clear(root: Path, *, keep_runs: int = 1, dry_run: bool = False, now: datetime = NOW) -> Removal:
    return clear_run_folders(root.parent.parent, keep_runs=keep_runs, now=now, using="default", dry_run=dry_run)


def present(root: Path, runs: Iterable[TrainingRun]) -> list[bool]:
    return [(root / each.folder_name).is_dir() for each in runs]


def aged(path: Path, *, days: float) -> Path:
    """Give a path, and what is in it, the age that it has at `NOW`."""
    moment = (NOW - timedelta(days=days)).timestamp()
    for each in [*(path.rglob("*") if path.is_dir() and not path.is_symlink() else ()), path]:
        os.utime(each, (moment, moment), follow_symlinks=False)
    return path


def test_the_newest_stay_and_the_older_go(root: Path) -> None:
    runs = [run(root, night=number) for number in range(5)]
    activate(root / runs[-1].folder_name)
    found = clear(root, keep_runs=2)
    assert present(root, runs) == [False, False, False, True, True]
    assert (found.runs, found.work, found.partials) == (3, 0, 0)
    assert found.names == [f"lora/test/{each.folder_name}" for each in reversed(runs[:3])]
    assert found.size_bytes > 3 * len("weights")
    assert [path.name for path in root.iterdir() if path.name.endswith(".partial")] == []
    assert clear(root, keep_runs=2).runs == 0
    assert TrainingRun.objects.count() == 5


def test_the_number_tells_the_newer_of_two_of_one_second(root: Path) -> None:
    runs = [run(root) for _ in range(12)]
    activate(root / runs[-1].folder_name)
    clear(root, keep_runs=3)
    assert present(root, runs) == [False] * 9 + [True] * 3


def test_the_active_adapter_stays_with_all_that_it_was_continued_from(root: Path) -> None:
    first = run(root)
    second = run(root, night=1, continued=first)
    other = run(root, night=2, continued=first)
    third = run(root, night=3, continued=second, active=True)
    newest = [run(root, night=number) for number in (4, 5)]
    clear(root)
    assert present(root, [first, second, other, third, *newest]) == [True, True, False, True, False, True]


def test_ancestors_are_found_by_name_once_the_artifacts_have_moved(root: Path) -> None:
    first, second, third = (run(root, night=number) for number in range(3))
    activate(root / third.folder_name)
    for child, parent in ((second, first), (third, second)):
        set_parent(root / child.folder_name, Path("/old/artifacts/lora/test") / parent.folder_name)
    newest = run(root, night=3)
    clear(root)
    assert present(root, [first, second, third, newest]) == [True] * 4


def test_ancestors_in_another_folder_of_runs_stay(root: Path) -> None:
    other = root.with_name("other")
    ancestor = run(other)
    newer = [run(other, night=number) for number in (1, 2)]
    active = run(root, night=3, active=True)
    set_parent(root / active.folder_name, other / ancestor.folder_name)
    clear(root)
    assert present(other, [ancestor, *newer]) == [True, False, True]


def test_a_chain_that_bites_its_tail_ends(root: Path) -> None:
    first = run(root, active=True)
    set_parent(root / first.folder_name, root / first.folder_name)
    assert clear(root).runs == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"other": 1}', '{"init_adapter": 7}'])
def test_a_damaged_manifest_of_the_active_adapter_keeps_everything(root: Path, content: str) -> None:
    runs = [run(root, night=number) for number in range(3)]
    activate(root / runs[1].folder_name)
    (root / runs[1].folder_name / "manifest.json").write_text(content)
    with pytest.raises(
        UnknownAncestorsError, match=r"manifest\.json: what the adapter was continued from cannot be re"
    ):
        clear(root)
    assert present(root, runs) == [True, True, True]


def test_the_last_successful_run_stays_where_later_ones_belong_to_no_row(root: Path) -> None:
    """As after another database has trained in the same folder."""
    successful = [run(root, night=number) for number in (0, 1)]
    unknown = [run(root, night=number) for number in (2, 3)]
    for each in unknown:
        each.delete()
    clear(root)
    assert present(root, successful) == [False, True]


@pytest.mark.parametrize("status", [TrainingRun.Status.RUNNING, TrainingRun.Status.INTERRUPTED])
def test_an_unfinished_run_keeps_its_state_and_the_adapter_it_goes_on_from(
    root: Path, status: TrainingRun.Status
) -> None:
    start = run(root)
    newest = run(root, night=1, active=True)
    unfinished = run(root, night=2, status=status, folder=False)
    work = working_folder(root, unfinished, adapter=root / start.folder_name)
    aged(work, days=50)
    clear(root)
    assert present(root, [start, newest]) == [True, True]
    assert work.is_dir()


def test_a_whole_folder_whose_row_is_still_open_stays(root: Path) -> None:
    """A kill between the folder's rename and the row: the next training records the success."""
    unfinished = run(root, status=TrainingRun.Status.RUNNING)
    newer = run(root, night=1, active=True)
    working_folder(root, unfinished)
    clear(root)
    assert present(root, [unfinished, newer]) == [True, True]


def test_what_a_comparison_may_put_back_stays(root: Path) -> None:
    previous, middle, new = (run(root, night=number) for number in range(3))
    activate(root / new.folder_name)
    details = {"run": new.pk, "previous_adapter": previous.adapter}
    MaintenanceStep.objects.create(run=nights.run(), name="train", details=details)
    clear(root)
    assert present(root, [previous, middle, new]) == [True, False, True]


@pytest.mark.parametrize(("days", "stays"), [(6.9, True), (7.1, False)])
def test_what_a_failed_run_left_stays_for_a_week(root: Path, days: float, stays: bool) -> None:
    good = run(root, active=True)
    failed = run(root, night=1, status=FAILED)
    work = working_folder(root, failed)
    failed.finished_at = NOW - timedelta(days=days)
    failed.save()
    found = clear(root, keep_runs=10)
    assert work.exists() is stays
    assert present(root, [good, failed]) == [True, stays]
    assert (found.runs, found.work) == ((0, 0) if stays else (1, 1))


def test_failed_runs_take_no_place_of_those_to_keep(root: Path) -> None:
    good = [run(root, night=number) for number in range(3)]
    activate(root / good[-1].folder_name)
    failed = run(root, night=3, status=FAILED)
    TrainingRun.objects.filter(pk=failed.pk).update(finished_at=NOW)
    clear(root, keep_runs=2)
    assert present(root, [*good, failed]) == [False, True, True, True]


def test_state_that_a_successful_run_left_goes(root: Path) -> None:
    """As after a kill between the row and the removal."""
    done = run(root, active=True)
    work = working_folder(root, done)
    assert clear(root).work == 1
    assert not work.exists()


def test_remains_of_a_state_that_name_no_run_go(root: Path) -> None:
    """As after a kill in the middle of the removal."""
    done = run(root, active=True)
    work = working_folder(root, done)
    (work / "run.json").unlink()
    assert clear(root).work == 1
    assert not work.exists()


def test_state_of_a_run_that_this_database_does_not_know_stays(root: Path) -> None:
    stranger = run(root, status=FAILED, folder=False)
    work = working_folder(root, stranger)
    stranger.delete()
    clear(root)
    assert work.is_dir()


@pytest.mark.parametrize(("days", "stays"), [(0.9, True), (1.1, False)])
def test_temporary_files_go_after_a_day(root: Path, days: float, stays: bool) -> None:
    artifacts = root.parent.parent
    run(root, active=True)
    partials = [fill(root / ".run-20260101T000000Z-9.partial"), root / ".work.partial", root / ".active.partial"]
    partials[1].mkdir()
    partials[2].symlink_to("nowhere")
    (artifacts / "references").mkdir()
    partials += [artifacts / "references" / ".x.json.partial", artifacts / ".y.partial"]
    for path in partials[3:]:
        path.write_text("half")
    for path in partials:
        aged(path, days=days)
    assert clear(root).partials == (0 if stays else 5)
    assert [os.path.lexists(path) for path in partials] == [stays] * 5


def test_a_folder_to_which_something_is_still_written_is_not_dead(root: Path) -> None:
    partial = fill(root / ".run-20260101T000000Z-9.partial")
    aged(partial, days=5)
    aged(partial / "manifest.json", days=0)
    assert clear(root).partials == 0
    assert partial.is_dir()


def test_links_are_neither_followed_nor_taken_for_runs(root: Path, tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside" / "run-20250101T000000Z-1")
    inside = root.parent / "linked"
    inside.symlink_to(outside.parent)
    (root / "run-20250101T000000Z-2").symlink_to(outside)
    (root.parent / "nothing-but-links").mkdir()
    (root.parent / "nothing-but-links" / "run-20250101T000000Z-3").symlink_to(outside)
    (root / ".old.partial").symlink_to(outside)
    aged(root / ".old.partial", days=5)
    old = run(root)
    (root / old.folder_name / "link").symlink_to(outside)
    newest = run(root, night=1, active=True)
    found = clear(root)
    assert present(root, [old, newest]) == [False, True]
    assert (found.runs, found.partials) == (1, 1)
    assert (outside / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (root / "run-20250101T000000Z-2").is_symlink()
    assert run_roots(root.parent.parent) == [root]


def test_an_active_link_to_somewhere_else_does_not_let_the_folder_go_bare(root: Path, tmp_path: Path) -> None:
    runs = [run(root, night=number) for number in range(2)]
    foreign = tmp_path / "mine"
    foreign.mkdir()
    activate(foreign, root=root)
    clear(root)
    assert present(root, runs) == [False, True]
    assert foreign.is_dir()


def test_other_folders_are_none_of_its_business(root: Path) -> None:
    artifacts = root.parent.parent
    others = [
        root / "my-adapter",
        root / "run-20250101T000000Z",
        root / "run-old",
        artifacts / "models" / "base",
        artifacts / "maintenance" / "2020-01-01",
    ]
    for path in others:
        fill(path)
        aged(path, days=1000)
    run(root, active=True)
    assert clear(root) == Removal()
    assert all(path.is_dir() for path in others)


def test_a_folder_in_which_somebody_trains_is_left_and_named(root: Path) -> None:
    runs = [run(root, night=number) for number in range(3)]
    other = root.with_name("other")
    free = [run(other, night=number) for number in range(3)]
    with folder_lock(root):
        found = clear(root)
    assert present(root, runs) == [True, True, True]
    assert present(other, free) == [False, False, True]
    (line,) = found.locked
    assert line.startswith(f"{root}: process {os.getpid()} on ")
    assert found.runs == 2


def test_a_run_that_ended_before_the_lock_was_taken_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run(root, night=number) for number in range(3)]
    take = folder_lock

    def with_news(folder: Path) -> object:
        activate(root / runs[0].folder_name)
        return take(folder)

    monkeypatch.setattr(module, "folder_lock", with_news)
    clear(root)
    assert present(root, runs) == [True, False, True]


def test_a_dry_run_counts_the_same_and_touches_nothing(root: Path) -> None:
    runs = [run(root, night=number) for number in range(4)]
    working_folder(root, run(root, night=4, status=FAILED))
    aged(fill(root / ".run-20260101T000000Z-9.partial"), days=5)
    before = sorted(str(path) for path in root.rglob("*"))
    rehearsed = clear(root, dry_run=True)
    assert sorted(str(path) for path in root.rglob("*")) == before
    real = clear(root)
    assert (real.runs, real.work, real.partials) == (rehearsed.runs, rehearsed.work, rehearsed.partials) == (4, 1, 1)
    assert present(root, runs) == [False, False, False, True]


def test_a_dry_run_counts_the_run_that_the_real_night_would_add(root: Path) -> None:
    runs = [run(root, night=number) for number in range(3)]
    activate(root / runs[-1].folder_name)
    given = {"keep_runs": 2, "now": NOW, "using": "default", "dry_run": True}
    assert clear_run_folders(root.parent.parent, expected=root, **given).runs == 2  # type: ignore[arg-type]
    assert clear_run_folders(root.parent.parent, **given).runs == 1  # type: ignore[arg-type]


def test_a_dry_run_leaves_out_what_the_steps_of_the_real_night_would_have_removed(root: Path) -> None:
    artifacts = root.parent.parent
    run(root, active=True)
    archive = artifacts / "maintenance" / "archive"
    archive.mkdir(parents=True)
    (root / ".work.partial").mkdir()
    (root / ".active.partial").symlink_to("nowhere")
    (archive / ".x.partial").write_text("half")
    for path in (root / ".work.partial", root / ".active.partial", archive / ".x.partial"):
        aged(path, days=5)
    given = {"keep_runs": 2, "now": NOW, "using": "default", "dry_run": True}
    assert clear_run_folders(artifacts, **given).partials == 3  # type: ignore[arg-type]
    assert clear_run_folders(artifacts, expected=root, **given).partials == 1  # type: ignore[arg-type]
    assert clear_run_folders(artifacts, cleared=[archive / ".x.partial"], **given).partials == 2  # type: ignore[arg-type]


def test_a_removal_that_dies_half_way_leaves_no_half_of_a_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run(root, night=number) for number in range(2)]

    def die(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            (path / "manifest.json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            clear(root)
    assert present(root, runs) == [False, True]
    (left,) = root.glob(".run-*.partial")
    aged(left, days=2)
    assert clear(root).partials == 1
    assert not left.exists()


@pytest.mark.parametrize("name", ["run-20260101T030000Z-1", ".run-20260101T030000Z-1.partial"])
def test_what_a_removal_left_goes_the_next_time_however_lately_it_was_touched(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing the first file of a folder makes the folder look as if somebody had just written to it."""
    runs = [run(root, night=number) for number in range(2)]
    if name.startswith("."):
        aged(fill(root / name), days=2)

    def die(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            (path / "manifest.json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            clear(root, keep_runs=2 if name.startswith(".") else 1)
    assert clear(root, keep_runs=2).partials == 1
    assert list(root.glob(".run-*")) == []
    assert present(root, runs)[1]


def test_artifacts_that_are_not_there_have_nothing_to_remove(tmp_path: Path) -> None:
    assert clear(tmp_path / "none" / "a" / "b") == Removal()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parents=st.lists(st.one_of(st.none(), st.integers(0, 7)), min_size=1, max_size=8),
    active=st.integers(0, 7),
    keep_runs=st.integers(1, 4),
    failed=st.sets(st.integers(0, 7)),
)
def test_whatever_the_history_the_chain_and_the_newest_stay(
    tmp_path_factory: pytest.TempPathFactory, parents: list[int | None], active: int, keep_runs: int, failed: set[int]
) -> None:
    TrainingRun.objects.all().delete()
    root = tmp_path_factory.mktemp("artifacts") / "lora" / "test"
    runs: list[TrainingRun] = []
    for number, parent in enumerate(parents):
        continued = runs[parent] if parent is not None and parent < number else None
        status = FAILED if number in failed else TrainingRun.Status.SUCCEEDED
        runs.append(run(root, night=number, continued=continued, status=status))
    activate(root / runs[active % len(runs)].folder_name)
    clear(root, keep_runs=keep_runs)
    chain = active % len(runs)
    while True:
        assert (root / runs[chain].folder_name).is_dir()
        parent = parents[chain]
        if parent is None or parent >= chain:
            break
        chain = parent
    good = [each for number, each in enumerate(runs) if number not in failed]
    assert all(present(root, good[-keep_runs:]))
