"""Which folders of training runs may go, and their going."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from maintenance.trained_runs import uncompared_runs
from training.artifacts import ACTIVE_LINK, MANIFEST, active_adapter
from training.lock import LockedError, folder_lock
from training.models import TrainingRun
from training.run_state import REMOVED, WORK_FOLDER, read_claim, read_start, remove_folder

# What a failed run left may help to find out why, for so long.
FAILED_DAYS = 7
# Whoever writes a file under a temporary name has long been dead by then.
PARTIAL_DAYS = 1
_RUN_NAME = re.compile(r"run-(\d{8}T\d{6}Z)-(\d+)")
_PARTIAL = re.compile(r"\..+\.partial")


class UnknownAncestorsError(ValueError):
    """A manifest does not say what its adapter was continued from, so that no run folder may go."""


@dataclass(frozen=True, slots=True)
class Leavings:
    """What may go from one folder of runs.

    Attributes:
        runs: folders of runs.
        work: the state and the checkpoints of a run that failed long ago, or that succeeded.
        partials: what was written under a temporary name and never renamed.

    """

    runs: tuple[Path, ...] = ()
    work: tuple[Path, ...] = ()
    partials: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.runs, *self.work, *self.partials)


@dataclass(slots=True)
class Removal:
    """What went, or would go: numbers, names, and the folders left alone because a trainer works there."""

    runs: int = 0
    work: int = 0
    partials: int = 0
    size_bytes: int = 0
    names: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)

    def add(self, leavings: Leavings, *, artifacts: Path) -> None:
        """Count what a folder gave."""
        self.runs += len(leavings.runs)
        self.work += len(leavings.work)
        self.partials += len(leavings.partials)
        self.size_bytes += sum(_size(path) for path in leavings.paths)
        self.names += [str(path.relative_to(artifacts)) for path in leavings.paths]


def clear_run_folders(
    artifacts: Path,
    *,
    keep_runs: int,
    now: datetime,
    using: str,
    expected: Path | None = None,
    cleared: Collection[Path] = (),
    dry_run: bool = False,
) -> Removal:
    """Remove old run folders, what failed runs left, and dead temporary files under `artifacts`; return what went.

    Of each folder of runs stay the newest `keep_runs`, the active adapter with all that it was continued from, the last
    successful run, whatever an unfinished run needs or is, and what a comparison may put back. Links are never
    followed. A folder goes by a rename first, so that nobody ever finds half of it under its name.

    Args:
        artifacts: ARTIFACTS_DIR.
        keep_runs: run folders to keep in each folder of runs.
        now: the moment from which ages count.
        using: the database of the runs.
        expected: the folder of runs that a real night would have given one run more, in a dry run.
        cleared: what the steps before would have removed by now, in a dry run.
        dry_run: count alone.

    Raises:
        UnknownAncestorsError: the manifest of an adapter that has to stay is damaged.
        OSError: something cannot be removed.

    """
    top = artifacts.resolve()
    removal = Removal()
    gone = {path.parent.resolve() / path.name for path in cleared} | set(_replaced_by_a_run(expected))
    for root in run_roots(top):
        keep = keep_runs - (root == expected)
        leavings = find_leavings(root, top, keep_runs=keep, now=now, using=using)
        if dry_run or not leavings.paths:
            partials = tuple(path for path in leavings.partials if path not in gone)
            removal.add(replace(leavings, partials=partials), artifacts=top)
            continue
        try:
            with folder_lock(root):
                # Looked at again: a trainer may have ended between the first look and the lock.
                leavings = find_leavings(root, top, keep_runs=keep, now=now, using=using)
                removal.add(leavings, artifacts=top)
                _remove(leavings.paths)
        except LockedError as busy:
            removal.locked.append(str(busy))
    dead = (path for path in _dead_partials(top, now=now, besides=run_roots(top)) if path not in gone)
    elsewhere = Leavings(partials=tuple(dead))
    removal.add(elsewhere, artifacts=top)
    if not dry_run:
        _remove(elsewhere.paths)
    return removal


def run_roots(artifacts: Path) -> list[Path]:
    """Return the folders under `artifacts` that hold runs, finished or begun."""
    return [folder for folder, names in _folders(artifacts) if any(_is_of_a_run(folder / name) for name in names)]


def run_folders(root: Path) -> list[Path]:
    """Return the finished runs in `root`, newest first."""
    found = [(match, path) for path in root.iterdir() if (match := _RUN_NAME.fullmatch(path.name)) and _is_folder(path)]
    return [path for match, path in sorted(found, key=lambda each: _age_key(each[0]), reverse=True)]


def find_leavings(root: Path, artifacts: Path, *, keep_runs: int, now: datetime, using: str) -> Leavings:
    """Return what may go from `root`; nothing is changed.

    Raises:
        UnknownAncestorsError: the manifest of an adapter that has to stay is damaged.

    """
    rows = {
        run.folder_name: run for run in TrainingRun.objects.using(using).only("started_at", "status", "finished_at")
    }
    long_ago = now - timedelta(days=FAILED_DAYS)
    runs = run_folders(root)
    failed = [path for path in runs if _has_failed(rows.get(path.name))]
    good = [path for path in runs if path not in failed]
    candidates = [*good[max(keep_runs, 0) :], *(path for path in failed if _ended_before(rows[path.name], long_ago))]
    kept = protected_names(artifacts, using=using) if candidates else set()
    partials = [path for path in root.iterdir() if _PARTIAL.fullmatch(path.name) and _is_dead(path, now=now)]
    return Leavings(
        tuple(path for path in candidates if path.name not in kept),
        tuple(_finished_work(root, rows, before=long_ago)),
        tuple(sorted(partials)),
    )


def protected_names(artifacts: Path, *, using: str) -> set[str]:
    """Return the names of all run folders under `artifacts` that have to stay, however old.

    Names, because manifests hold paths that are no longer true once the artifacts have moved; a run's name has its time
    and its number in it.

    Raises:
        UnknownAncestorsError: the manifest of one of them is damaged.

    """
    roots = run_roots(artifacts)
    by_name = {path.name: path for root in roots for path in run_folders(root)}
    kept: list[Path] = []
    successful = TrainingRun.objects.using(using).successful().order_by("-pk").values_list("adapter", flat=True)
    succeeded = [Path(adapter).name for adapter in successful]
    for root in roots:
        names = {path.name for path in run_folders(root)}
        kept += [root / name for name in succeeded if name in names][:1]
        if (active := active_adapter(root)) is not None:
            kept.append(active)
        kept += _needed_by_unfinished(root, using=using)
    for trained in uncompared_runs(using=using):
        kept.append(Path(trained.run.adapter))
        if trained.previous is not None:
            kept.append(trained.previous)
    return _with_ancestors(kept, by_name)


def _with_ancestors(adapters: Iterable[Path], by_name: Mapping[str, Path]) -> set[str]:
    found: set[str] = set()
    waiting = list(adapters)
    while waiting:
        adapter = waiting.pop()
        if adapter.name in found:
            continue
        found.add(adapter.name)
        parent = _continued_from(adapter if adapter.is_dir() else by_name.get(adapter.name, adapter))
        if parent is not None:
            waiting.append(parent)
    return found


def _continued_from(adapter: Path) -> Path | None:
    path = adapter / MANIFEST
    if not path.is_file():
        return None
    try:
        parent = json.loads(path.read_text(encoding="utf-8"))["init_adapter"]
        return None if parent is None else Path(parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownAncestorsError(
            f"{path}: what the adapter was continued from cannot be read ({error}); no run folder was removed"
        ) from error


def _needed_by_unfinished(root: Path, *, using: str) -> list[Path]:
    """Return the folder that the unfinished run of `root` will have, and the one that it continues."""
    work = root / WORK_FOLDER
    claim = read_claim(work)
    if claim is None or not TrainingRun.objects.using(using).unfinished().filter(pk=claim.run).exists():
        return []
    start = read_start(work)
    return [root / claim.name, *([start] if start is not None else [])]


def _finished_work(root: Path, rows: Mapping[str, TrainingRun], *, before: datetime) -> Iterator[Path]:
    """Yield the working folder of a run that needs it no more, or the remains of one that name no run.

    One that no row is for may be another database's.
    """
    work = root / WORK_FOLDER
    if not _is_folder(work):
        return
    claim = read_claim(work)
    if claim is None:
        yield work
        return
    run = rows.get(claim.name)
    if run is None:
        return
    if run.status == TrainingRun.Status.SUCCEEDED or (_has_failed(run) and _ended_before(run, before)):
        yield work


def _has_failed(run: TrainingRun | None) -> bool:
    return run is not None and run.status == TrainingRun.Status.FAILED


def _ended_before(run: TrainingRun, moment: datetime) -> bool:
    return (run.finished_at or run.started_at) < moment


def _replaced_by_a_run(root: Path | None) -> Iterator[Path]:
    """Yield the temporary names in a folder of runs that a run takes itself, whatever lies there."""
    if root is not None:
        yield root / f"{WORK_FOLDER}.partial"
        yield root / f".{ACTIVE_LINK}.partial"


def _dead_partials(artifacts: Path, *, now: datetime, besides: Collection[Path]) -> Iterator[Path]:
    for folder, _ in _folders(artifacts):
        if folder not in besides:
            yield from (
                path for path in sorted(folder.iterdir()) if _PARTIAL.fullmatch(path.name) and _is_dead(path, now=now)
            )


def _folders(top: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """Yield every folder from `top` down with the names of the folders in it, neither through links nor into runs."""
    for folder, names, _ in os.walk(top):
        here = Path(folder)
        own = [name for name in names if not (here / name).is_symlink()]
        yield here, own
        names[:] = [name for name in own if not name.startswith(".") and not _RUN_NAME.fullmatch(name)]


def _is_of_a_run(path: Path) -> bool:
    if path.name in (WORK_FOLDER, f"{WORK_FOLDER}.partial", f"{WORK_FOLDER}{REMOVED}"):
        return True
    name = path.name.removeprefix(".").removesuffix(REMOVED).removesuffix(".partial")
    return _RUN_NAME.fullmatch(name) is not None and (path.name != name or (path / MANIFEST).is_file())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _age_key(name: re.Match[str]) -> tuple[str, int]:
    return name[1], int(name[2])


def _is_dead(path: Path, *, now: datetime) -> bool:
    if path.name.endswith(REMOVED):
        # As good as gone, whenever it was touched last.
        return True
    newest = max((each.lstat().st_mtime for each in (path, *_inside(path))), default=0.0)
    return newest < (now - timedelta(days=PARTIAL_DAYS)).timestamp()


def _inside(path: Path) -> Iterator[Path]:
    # `rglob` does not go through links to folders.
    return path.rglob("*") if _is_folder(path) else iter(())


def _size(path: Path) -> int:
    return sum(each.lstat().st_size for each in (path, *_inside(path)) if not each.is_dir() or each.is_symlink())


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if _is_folder(path):
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)
