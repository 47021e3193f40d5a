"""The folder of a run: written under a temporary name, renamed when whole, its manifest last."""

import json
import platform
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from training.config import TrainingConfig

MANIFEST = "manifest.json"
ACTIVE_LINK = "active"
_LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "numpy")


class OutsideRootError(ValueError):
    """A folder that a config names lies outside the artifacts folder."""


def adapter_root(config: TrainingConfig, *, artifacts_dir: Path) -> Path:
    """Return the folder that holds the runs of this config.

    Raises:
        OutsideRootError: the config's `output_dir` leads out of the artifacts folder.

    """
    root = (artifacts_dir / config.output_dir).resolve()
    if not root.is_relative_to(artifacts_dir.resolve()) or root == artifacts_dir.resolve():
        raise OutsideRootError(f"output_dir: got {config.output_dir}, allowed a folder under {artifacts_dir}")
    return root


def write_run_folder(
    root: Path,
    name: str,
    *,
    config: TrainingConfig,
    manifest: Mapping[str, Any],
    write_files: Callable[[Path], None],
) -> Path:
    """Write what `write_files` has, the resolved config and the manifest into `root/name`; return that folder.

    Nobody ever sees a half-written folder: it appears by one rename. The link `active` beside it then points to
    it, by another.
    """
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write_files(partial)
        (partial / "config.yaml").write_text(
            yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8"
        )
        content = {**manifest, "versions": _versions(), "files": sorted(path.name for path in partial.iterdir())}
        (partial / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        final = root / name
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _point(root / ACTIVE_LINK, to=name)
    return final


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _point(link: Path, *, to: str) -> None:
    partial = link.with_name(f".{link.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(to, target_is_directory=True)
    partial.replace(link)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
