"""Stored reference log-probabilities whose adapter is gone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from maintenance.housekeeping.run_folders import run_folders, run_roots
from training.artifacts import MANIFEST

KEEP_DAYS = 30
# The base model's checksum, the adapter's, the precision: what `training.trainer.reference_pass` names a file by.
_NAME = re.compile(r"[0-9a-f]{16}-([0-9a-f]{16}|base)-\w+\.json")


def stale_references(artifacts: Path, *, going: Collection[str], now: datetime) -> list[Path]:
    """Return the files whose adapter no run folder holds any more and to which nothing was added for `KEEP_DAYS`.

    They can be computed anew. Those of the base model alone stay.

    Args:
        artifacts: ARTIFACTS_DIR.
        going: paths of run folders, from `artifacts`, that are about to go and do not count as holding one.
        now: the moment from which ages count.

    """
    folder = artifacts / "references"
    if not folder.is_dir():
        return []
    before = (now - timedelta(days=KEEP_DAYS)).timestamp()
    known = _adapters(artifacts.resolve(), going=going)
    return [
        path
        for path in sorted(folder.iterdir())
        if (match := _NAME.fullmatch(path.name))
        and match[1] not in known
        and not path.is_symlink()
        and path.stat().st_mtime < before
    ]


def _adapters(artifacts: Path, *, going: Collection[str]) -> set[str]:
    """Return the first 16 digits of the checksum of every adapter, and `base`."""
    found = {"base"}
    for root in run_roots(artifacts):
        for folder in run_folders(root):
            if str(folder.relative_to(artifacts)) not in going:
                found.add(_checksum(folder)[:16])
    return found


def _checksum(folder: Path) -> str:
    """Return the checksum of the adapter by its manifest; empty where that does not tell."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["adapter_checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
