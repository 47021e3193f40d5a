"""What the model answered to recall probes before and after a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualchannel_site.desk.runs.course import run_folder
from training.artifacts import OutsideRootError
from training.evaluation.answers import Verdict, verdict
from training.models import TrainingRun
from training.run_results import EVALUATION

SHOWN_ANSWERS = 30
LARGEST_BYTES = 16_000_000
# The most telling first.
_ORDER: tuple[Verdict, ...] = ("now wrong", "now right", "still wrong", "still right")


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One question with the answers of both times."""

    question: str
    before: str
    after: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that are shown, of how many, and how many of all became right or wrong."""

    shown: tuple[ShownAnswer, ...]
    total: int
    now_right: int
    now_wrong: int


def read_answers(run: TrainingRun, *, artifacts: Path) -> Answers | None:
    """Return the answers that the run's folder has; None where there are none, or they cannot be read."""
    if not run.adapter:
        return None
    try:
        path = (run_folder(run, artifacts=artifacts) / EVALUATION).resolve()
        if not path.is_relative_to(artifacts.resolve()) or path.stat().st_size > LARGEST_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        found = list(_answers(content["answers"]))
    except (OutsideRootError, OSError, ValueError, KeyError, TypeError, RecursionError):
        # A folder that was removed or changed by hand: the page says the same as where there were no probes.
        return None
    if not found:
        return None
    ranked = sorted(found, key=lambda answer: (_ORDER.index(answer.verdict), answer.before == answer.after))
    counts = {each: sum(answer.verdict == each for answer in found) for each in _ORDER}
    return Answers(tuple(ranked[:SHOWN_ANSWERS]), len(found), counts["now right"], counts["now wrong"])


def _answers(rows: list[dict[str, Any]]) -> Iterator[ShownAnswer]:
    for row in rows:
        became = verdict(was_right=bool(row["right_before"]), is_right=bool(row["right_after"]))
        yield ShownAnswer(str(row["question"]), str(row["before"]), str(row["after"]), became)
