"""Morning reports of earlier nights, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from maintenance.models import MaintenanceRun
from maintenance.morning.figures import FIGURES
from maintenance.morning.writing import PAGE
from training.artifacts import OutsideRootError, inside

# A report has a few kilobytes; a larger file is none.
LARGEST_BYTES = 4_000_000


class NoReportError(ValueError):
    """A night has no report that can be shown; the message says why."""


def read_page(run: MaintenanceRun, *, artifacts: Path) -> str:
    """Return the report of a night in Markdown, as it was written.

    Raises:
        NoReportError: it has none, its folder is gone or outside of `artifacts`, or cannot be read.

    """
    return _read(run, PAGE, artifacts)


def read_pools(run: MaintenanceRun, *, artifacts: Path) -> Mapping[str, Mapping[str, int]]:
    """Return the pools of both channels as the report of a night counted them, such as `pools["sft"]["unused"]`.

    Raises:
        NoReportError: as for `read_page`; or the file is not of that form.

    """
    text = _read(run, FIGURES, artifacts)
    try:
        pools = json.loads(text)["pools"]
        return {
            channel: {name: int(pools[channel][name]) for name in ("unused", "used")}
            for channel in ("sft", "preference")
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise NoReportError(f"{run.report}/{FIGURES}: no pools can be read from it") from error


def _read(run: MaintenanceRun, name: str, artifacts: Path) -> str:
    if not run.report:
        raise NoReportError("no report was written")
    try:
        path = inside("report", f"{run.report}/{name}", artifacts)
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise NoReportError(f"{path}: got more than {LARGEST_BYTES:,} bytes, allowed at most that many")
        return content.decode("utf-8")
    except OutsideRootError as error:
        raise NoReportError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise NoReportError(f"{run.report} is gone, or cannot be read") from error
