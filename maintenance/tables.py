"""A night as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_COLOURS = {"succeeded": "green", "skipped": "dim", "failed": "red", "interrupted": "yellow"}


def night_tables(report: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield the parts of a night's report (`maintenance.nightly.as_dict`)."""
    if report["dry_run"]:
        yield "Dry run: nothing was changed."
    table = Table(title=f"Night {report['run']}" if report["run"] else None, title_justify="left")
    for heading in ("step", "status", "seconds", "MB", "what"):
        table.add_column(heading, justify="right" if heading in ("seconds", "MB") else "left")
    for name, step in report["steps"].items():
        table.add_row(
            name,
            Text(step["status"], style=_COLOURS.get(step["status"], "")),
            f"{step['seconds']:.1f}",
            f"{step['peak_rss_mb']:.0f}",
            _what(step),
        )
    yield table
    if report["error"]:
        yield report["error"]
    if report["report"]:
        yield f"Morning report: {report['report']}"


def _what(step: Mapping[str, Any]) -> Text:
    if step["error"]:
        return Text(step["error"])
    counts = (f"{value:,} {name.replace('_', ' ')}" for name, value in step["counts"].items() if value)
    return Text(", ".join(counts) or "nothing to do")
