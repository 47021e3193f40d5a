"""The morning report's folder."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from maintenance.morning.figures import FIGURES, morning_figures
from maintenance.morning.mail import send_morning
from maintenance.morning.page import render_morning
from maintenance.night import Night
from training.artifacts import write_json, write_text

PAGE = "report.md"


def write_report(night: Night) -> Path:
    """Write the report of a night, record where it is, send it where the config says so; return its folder.

    The folder is named for the day, a second night of one day for its turn as well; no report is ever overwritten.

    Raises:
        OSError: the folder cannot be written, or the mail not sent; what was written stays.

    """
    folder = _new_folder(night.artifacts / "maintenance", f"{night.now:%Y-%m-%d}")
    figures = morning_figures(night.run, using=night.using)
    page = render_morning(figures, examples=night.config.report.examples)
    write_json(folder / FIGURES, figures)
    write_text(folder / PAGE, page)
    night.run.name_report(str(folder), using=night.using)
    if night.config.report.email_to:
        send_morning(page, figures, to=night.config.report.email_to)
    return folder


def _new_folder(root: Path, day: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for turn in count(1):
        folder = root / (day if turn == 1 else f"{day}-{turn}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable: the numbers do not end")
