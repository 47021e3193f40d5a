"""The folder of a run: written under a temporary name, renamed when whole, its manifest last."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from training.config import TrainingConfig

MANIFEST = "manifest.json"
CONFIG = "config.yaml"
ACTIVE_LINK = "active"


class OutsideRootError(ValueError):
    """A folder that a config names lies outside the artifacts folder."""


def adapter_root(config: TrainingConfig, *, artifacts_dir: Path) -> Path:
    """Return the folder that holds the runs of this config.

    Raises:
        OutsideRootError: the config's `output_dir` leads out of the artifacts folder.

    """
    return inside("output_dir", config.output_dir, artifacts_dir)


def starting_adapter(config: TrainingConfig, *, artifacts_dir: Path) -> Path | None:
    """Return the folder of the adapter from which the config starts, or None where it starts afresh.

    `continue` starts afresh while `output_dir` has no active adapter, so that the first of many nights needs no config
    of its own. The link `active` is followed, because it will point elsewhere when the run has ended.

    Raises:
        OutsideRootError: a folder outside the artifacts folder.

    """
    if config.init_adapter == "base":
        return None
    if config.init_adapter == "continue":
        return active_adapter(adapter_root(config, artifacts_dir=artifacts_dir))
    return inside("init_adapter", config.init_adapter, artifacts_dir)


def inside(key: str, folder: str, artifacts_dir: Path) -> Path:
    """Return the path that `folder` names, links followed; `key` is what the message calls it.

    Raises:
        OutsideRootError: it leads out of the artifacts folder.

    """
    path = (artifacts_dir / folder).resolve()
    if not path.is_relative_to(artifacts_dir.resolve()) or path == artifacts_dir.resolve():
        raise OutsideRootError(f"{key}: got {folder}, allowed a folder under {artifacts_dir}")
    return path


def write_run_folder(
    root: Path,
    name: str,
    *,
    config: TrainingConfig,
    manifest: Mapping[str, Any],
    write_files: Callable[[Path], None],
) -> Path:
    """Write what `write_files` has, the resolved config and the manifest into `root/name`; return that folder.

    Nobody ever sees a half-written folder: it appears by one rename, once the disk has taken every byte. The link
    `active` beside it then points to it, by another.
    """
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write_files(partial)
        write_config(partial / CONFIG, config)
        content = {**manifest, "files": sorted(path.name for path in partial.iterdir())}
        write_json(partial / MANIFEST, content)
        _flush(partial)
        final = root / name
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    activate(final)
    return final


def activate(folder: Path, *, root: Path | None = None) -> None:
    """Let the link `active` in `root`, by default beside `folder`, point to it."""
    link = (root or folder.parent) / ACTIVE_LINK
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    partial.replace(link)


def active_adapter(root: Path) -> Path | None:
    """Return the folder to which the link `active` in `root` points, or None where it points to none."""
    link = root / ACTIVE_LINK
    return link.resolve() if link.is_dir() else None


def deactivate(root: Path) -> None:
    """Take the link `active` in `root` away; the adapters stay."""
    (root / ACTIVE_LINK).unlink(missing_ok=True)


def write_config(path: Path, config: TrainingConfig) -> None:
    """Write the resolved config, every key of it, as YAML."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line, under a temporary name, then rename the file."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _flush(folder: Path) -> None:
    """Have the disk take the files, so that a full one is found out before the rename."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
