"""A night, or its undoing, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from maintenance.undo import UndoReport

# Rows that were left, of which the terminal tells.
_SHOWN = 20
_COLOURS = {"succeeded": "green", "skipped": "dim", "failed": "red", "interrupted": "yellow"}


def night_tables(report: Mapping[str, Any]) -> Iterator[RenderableType | str]:
    """Yield the parts of a night's report (`maintenance.nightly.as_dict`)."""
    if report["run"] is None:
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
    if report["report"]:
        yield f"Morning report: {report['report']}"


def undo_tables(report: UndoReport, *, dry_run: bool) -> Iterator[RenderableType | str]:
    """Yield the parts of what an undo came to; of many rows that were left, the first ones."""
    if dry_run:
        yield "Dry run: nothing was changed."
    table = Table("step", "table", Column("rows put back", justify="right"), title=f"Night {report.run}")
    for step, tables in report.restored.items():
        for name, count in tables.items():
            table.add_row(step, name, f"{count:,}")
    yield table if report.restored else f"Night {report.run}: there is nothing to put back."
    for refusal in report.refused[:_SHOWN]:
        yield f"Left as it is: {refusal.table} {refusal.row} ({refusal.step}): {refusal.reason}"
    if len(report.refused) > _SHOWN:
        yield f"… and {len(report.refused) - _SHOWN:,} more; --json lists them all."
    yield from report.notes


def _what(step: Mapping[str, Any]) -> Text:
    if step["error"]:
        return Text(step["error"])
    counts = (f"{value:,} {name.replace('_', ' ')}" for name, value in step["counts"].items() if value)
    return Text(", ".join(counts) or "nothing to do")
