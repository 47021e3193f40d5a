"""What a job came to, as tables for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.utils import timezone

from dualchannel_site.desk.models import Job
from maintenance.steps import STEPS
from memory.extraction.report import ExtractionReport
from training.run_tables import (
    KINDS,
    PLAN_ROWS,
    RESULT_ROWS,
    duration,
    label,
    memory_needed,
    time_needed,
    value_text,
)
from training.sampling.schedule import CHANNEL_NAMES

_COUNTS = tuple(item.name for item in fields(ExtractionReport))


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table: its title, its column headings, its rows of text; the first column names the row."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def result_tables(job: Job, *, with_texts: bool) -> list[ResultTable]:
    """Return the tables of the job's result; without texts of conversations where the reader may not see those."""
    if not job.result:
        return []
    make: Callable[[Mapping[str, Any]], Iterator[ResultTable]] = {
        Job.Kind.EXTRACTION.value: _extraction,
        Job.Kind.PLAN.value: lambda result: _plan(result, with_texts=with_texts),
        Job.Kind.TRAINING.value: _training,
        Job.Kind.NIGHT.value: _night,
    }[job.kind]
    return list(make(job.result))


def _extraction(result: Mapping[str, Any]) -> Iterator[ResultTable]:
    counts = [(label(name), _number(value)) for name, value in _ordered(result, _COUNTS) if isinstance(value, int)]
    yield ResultTable("Extracted", ("what", "count"), counts)
    if dropped := result["dropped"]:
        rows = [(label(reason), _number(count)) for reason, count in dropped.items()]
        yield ResultTable("Left out, by reason", ("reason", "messages"), rows)


def _plan(result: Mapping[str, Any], *, with_texts: bool) -> Iterator[ResultTable]:
    rows = [(label(key), *(_shown(result[channel][key]) for channel in CHANNEL_NAMES)) for key in PLAN_ROWS]
    yield ResultTable(f"{result['steps']:,} steps", ("", *CHANNEL_NAMES.values()), rows)
    takes = [("memory", memory_needed(result)), ("time", time_needed(result))]
    yield ResultTable("What it takes", ("what", "expected"), takes)
    for kind in KINDS:
        for channel, name in CHANNEL_NAMES.items():
            if found := result[channel][f"by_{kind}"]:
                yield _pairs_table(f"{name.capitalize()} pairs by {kind}", kind, found, with_texts=with_texts)


def _pairs_table(title: str, kind: str, found: Sequence[Mapping[str, Any]], *, with_texts: bool) -> ResultTable:
    has_example = with_texts and "example" in found[0]
    rows = [
        (
            str(row[kind]),
            *(_number(row[name]) for name in ("pool", "pairs_drawn", "draws")),
            *([row["example"]] if has_example else []),
        )
        for row in found
    ]
    return ResultTable(title, (kind, "pool", "pairs drawn", "draws", *(["such as"] if has_example else [])), rows)


def _training(result: Mapping[str, Any]) -> Iterator[ResultTable]:
    rows = [(label(key), *(_shown(result[channel][key]) for channel in CHANNEL_NAMES)) for key in RESULT_ROWS]
    yield ResultTable(f"{result['steps']:,} steps", ("", *CHANNEL_NAMES.values()), rows)
    measured = [
        (label(key), _shown(value))
        for key, value in result["evaluation"].items()
        if value is not None and not isinstance(value, dict)
    ]
    if result["tokens_per_second"] is not None:
        measured.append(("tokens a second", f"{result['tokens_per_second']:,.0f}"))
    took = ("time", duration(result["seconds"]))
    yield ResultTable("Measured", ("what", "value"), [*measured, took, ("adapter", result["adapter"])])


def _night(result: Mapping[str, Any]) -> Iterator[ResultTable]:
    rows = [
        (name, step["status"], f"{step['seconds'] or 0:.1f}", _what(step))
        for name, step in _ordered(result["steps"], STEPS)
    ]
    title = "What would be done" if result["run"] is None else "Steps"
    yield ResultTable(title, ("step", "status", "seconds", "what"), rows)


def _what(step: Mapping[str, Any]) -> str:
    if step["error"]:
        return str(step["error"])
    counts = [f"{value:,} {label(name)}" for name, value in step["counts"].items() if value]
    return ", ".join(counts) or "nothing to do"


def _ordered(values: Mapping[str, Any], order: Sequence[str]) -> Iterator[tuple[str, Any]]:
    # PostgreSQL does not keep the order of an object's keys.
    return ((name, values[name]) for name in order if name in values)


def _number(value: float) -> str:
    return f"{value:,}"


def _shown(value: float | str | None) -> str:
    return _moment(value) if isinstance(value, str) else value_text(value)


def _moment(text: str) -> str:
    try:
        return f"{timezone.localtime(datetime.fromisoformat(text)):%Y-%m-%d %H:%M}"
    except ValueError:
        return text
