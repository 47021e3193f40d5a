"""A planned run, or a finished one, as tables for a person."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from training.sampling.schedule import CHANNEL_NAMES

PLAN_ROWS = ("pool", "held_out", "batches", "pairs_drawn", "epochs", "oldest", "newest")
RESULT_ROWS = ("batches", "pairs_used", "loss_first", "loss_last")
KINDS = ("age", "reward", "source", "cluster")


def plan_tables(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what `summarise` says of a run: its size, what it needs, which pairs it draws."""
    table = Table("", *_names(), title=f"{summary['steps']} steps")
    for key in PLAN_ROWS:
        table.add_row(label(key), *(value_text(summary[channel][key]) for channel in CHANNEL_NAMES))
    yield table
    for kind in KINDS:
        for channel, name in CHANNEL_NAMES.items():
            if rows := summary[channel][f"by_{kind}"]:
                yield _pairs_table(f"{name} pairs by {kind}", kind, rows)
    yield f"memory: {escape(memory_needed(summary))}"
    yield f"expected time: {time_needed(summary)}"


def result_tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what a finished run came to."""
    table = Table("", *_names(), title=f"run {report['run']}: {report['steps']} steps")
    for key in RESULT_ROWS:
        table.add_row(label(key), *(value_text(report[channel][key]) for channel in CHANNEL_NAMES))
    yield table
    for key, value in report["evaluation"].items():
        if isinstance(value, dict):
            counts = ", ".join(f"{len(value[channel])} {name}" for channel, name in CHANNEL_NAMES.items())
            yield f"{label(key)}: {counts} pairs"
        elif value is not None:
            yield f"{label(key)}: {value_text(value)}"
    speed = report["tokens_per_second"]
    yield f"{'' if speed is None else f'{speed:.0f} tokens/s, '}{duration(report['seconds'])} in all"
    yield f"adapter: {escape(report['adapter'])}"


def memory_needed(summary: Mapping[str, Any]) -> str:
    """Return in words what memory a planned run needs, or why that is not known."""
    needed = summary["memory_estimate_bytes"]
    return f"not known: {summary['memory_estimate_reason']}" if needed is None else f"about {needed / 2**30:.1f} GiB"


def time_needed(summary: Mapping[str, Any]) -> str:
    """Return in words how long a planned run will take."""
    seconds = summary["expected_seconds"]
    return "not known before a first run on this machine" if seconds is None else duration(seconds)


def label(key: str) -> str:
    """Return a figure's name in words."""
    return key.replace("_", " ")


def value_text(value: float | str | None) -> str:
    """Return a figure as it is shown: counts with their thousands apart, fractions with three digits."""
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Return a time as hours, minutes, seconds."""
    return str(timedelta(seconds=round(seconds)))


def _pairs_table(title: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    has_example = "example" in rows[0]
    table = Table(kind, "pool", "pairs drawn", "draws", *(["such as"] if has_example else []), title=title)
    for row in rows:
        example = [escape(row["example"])] if has_example else []
        table.add_row(escape(str(row[kind])), str(row["pool"]), str(row["pairs_drawn"]), str(row["draws"]), *example)
    return table


def _names() -> list[str]:
    return [f"{name} ({channel})" if name != channel else name for channel, name in CHANNEL_NAMES.items()]
