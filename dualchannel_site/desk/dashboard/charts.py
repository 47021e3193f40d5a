"""Charts as plain values: what unfold's chart component draws, and the same numbers as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Colour = Literal["memory", "preference", "third", "quiet"]

# Each can be told from white and from the dark theme's ground at a contrast of 3 to 1; the stylesheet has them, too.
_COLOURS: Mapping[Colour, str] = {
    "memory": "var(--color-primary-600)",
    "preference": "#d97706",
    "third": "#7c3aed",
    "quiet": "#64748b",
}
# A line of few points shows each of them; one alone would not be seen otherwise.
_MOST_DOTS = 40
_TICKS = 8
_WIDEST_BAR_PIXELS = 28


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one row of bars: a value for each label of its chart, None where there is none."""

    label: str
    values: Sequence[float | None]
    colour: Colour
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One label of a chart with its values as text, and the page behind it."""

    label: str
    link: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with what stands for it where it cannot be seen.

    Attributes:
        key: its name in the page, one word.
        labels: what stands along its lower edge.
        about: what the labels are, the head of the table's first column.
        summary: what the chart shows, in a sentence.
        link: the list behind the whole chart; empty where the person may not see it.
        links: the list behind each label; empty, or one for each.
        form: how a value is written, by `str.format`.
        empty: what is said where there is nothing to draw.

    """

    key: str
    title: str
    kind: Literal["line", "bar"]
    labels: Sequence[str]
    series: Sequence[Series]
    about: str
    summary: str
    link: str = ""
    link_text: str = ""
    links: Sequence[str] = ()
    note: str = ""
    unit: str = ""
    form: str = "{:,.0f}"
    empty: str = "Nothing to draw yet."
    # A table of hundreds of steps helps nobody; a run's curves leave it to the file.
    has_table: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether no series has a value."""
        return all(value is None for series in self.series for value in series.values)

    @property
    def data(self) -> str:
        """The chart as unfold's component wants it: Chart.js data in JSON."""
        return json.dumps(
            {"labels": list(self.labels), "datasets": [self._dataset(series) for series in self.series]},
            allow_nan=False,
        )

    @property
    def rows(self) -> list[ChartRow]:
        """The chart as the rows of a table."""
        links = self.links or [""] * len(self.labels)
        cells = zip(*([self._written(value) for value in series.values] for series in self.series), strict=True)
        return [ChartRow(*row) for row in zip(self.labels, links, cells, strict=True)]

    def _written(self, value: float | None) -> str:
        return "-" if value is None else f"{self.form.format(value)}{self.unit}"

    def _dataset(self, series: Series) -> dict[str, Any]:
        colour = _COLOURS[series.colour]
        shared = {
            "label": series.label,
            "data": list(series.values),
            "backgroundColor": colour,
            "displayYAxis": True,
            "maxTicksXLimit": _TICKS,
            **({"suffixYAxis": self.unit.strip()} if self.unit else {}),
        }
        if self.kind == "bar":
            return {**shared, "grouped": True, "maxBarThickness": _WIDEST_BAR_PIXELS, "borderRadius": 3}
        dots = {"pointStyle": "circle", "pointRadius": 2.5} if len(self.labels) <= _MOST_DOTS else {}
        dash = {"borderDash": [6, 3]} if series.dashed else {}
        return {**shared, "borderColor": colour, "spanGaps": True, **dots, **dash}
