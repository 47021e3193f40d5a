"""The course of a run is read as it is, thinned fairly, and never from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dualchannel_site.desk.runs import course
from dualchannel_site.desk.runs.course import NoCourseError, read_course
from dualchannel_site.desk.runs.curves import curves
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

CONFIG = {"sft_weight": 0.4, "preference_weight": 0.6}


def line(step: int, **metrics: Any) -> str:
    return json.dumps({"step": step, "trained": ["sft"], **metrics}) + "\n"


def ended_run(folder: Path, text: str) -> TrainingRun:
    """Store a run that left a folder with this file of metrics."""
    own = folder / "lora" / "run-1"
    own.mkdir(parents=True)
    (own / "metrics.jsonl").write_text(text, encoding="utf-8")
    return TrainingRun.objects.create(config_path="x", config={}, status="succeeded", adapter=str(own))


def open_run(folder: Path, text: str, *, claimed: bool = True, **fields: Any) -> TrainingRun:
    """Store a run that is at work, with its state in the working folder."""
    run = TrainingRun.objects.create(config_path="x", config={"output_dir": "lora"}, **fields)
    work = folder / "lora" / ".work"
    work.mkdir(parents=True)
    (work / "metrics.jsonl").write_text(text, encoding="utf-8")
    claim = {"run": run.pk if claimed else run.pk + 1, "name": run.folder_name}
    (work / "run.json").write_text(json.dumps(claim))
    return run


def test_a_short_course_is_read_whole(tmp_path: Path) -> None:
    text = line(1, **{"sft/loss": 3.0}) + line(2, **{"preference/loss": 0.7}) + line(3, **{"sft/loss": 1.0})
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    assert found.steps == (1, 2, 3)
    assert found.values == {"sft/loss": (3.0, None, 1.0), "preference/loss": (None, 0.7, None)}
    assert (found.lines, found.unreadable) == (3, 0)


def test_a_long_course_is_thinned_to_means_of_neighbours_of_both_channels(tmp_path: Path) -> None:
    # The channels take turns, as an interleaved run has it: every other step of a plain thinning would lose one.
    text = "".join(
        line(step, **{f"{'sft' if step % 2 else 'preference'}/loss": float(step)}) for step in range(1, 3001)
    )
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    assert len(found.steps) == course.MOST_POINTS
    assert found.steps[0] == 10
    assert found.steps[-1] == 3000
    for values, first in ((found.values["sft/loss"], 5.0), (found.values["preference/loss"], 6.0)):
        assert None not in values
        assert values[0] == first
        assert list(values) == sorted(values)  # type: ignore[type-var]  # none of them is None


def test_of_a_very_long_course_only_some_steps_of_each_point_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    original = course._step

    def counted(text: bytes) -> tuple[int, dict[str, float]] | None:
        parsed.append(text)
        return original(text)

    monkeypatch.setattr(course, "_step", counted)
    text = "".join(line(step, **{"sft/loss": 1.0}) for step in range(1, 15_001))
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    assert len(found.steps) == 300
    assert len(parsed) == 300 * course.STEPS_A_POINT


def test_broken_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    text = (
        line(1, **{"sft/loss": 2.0})
        + '{"step": 2, "sft/lo\n'
        + "[1, 2]\n\n"
        + '{"sft/loss": 1.0}\n'
        + '{"step": "3", "sft/loss": 1.0}\n'
        + "[" * 100_000
        + "\n"
        + '{"step": 5, "sft/loss": NaN, "preference/loss": Infinity, "note": "<b>", "on": true, "huge": 1'
        + "0" * 400
        + "}\n"
        + line(6, **{"sft/loss": 1.0})
    )
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    assert found.steps == (1, 5, 6)
    assert found.values == {"sft/loss": (2.0, None, 1.0)}
    assert found.unreadable == 6


def test_bytes_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    run = ended_run(tmp_path, "")
    (Path(run.adapter) / "metrics.jsonl").write_bytes(b"\xff\xfe\n" + line(1, **{"sft/loss": 1.0}).encode())
    found = read_course(run, artifacts=tmp_path)
    assert (found.steps, found.unreadable) == ((1,), 1)


def test_a_run_at_work_shows_how_far_it_is(tmp_path: Path) -> None:
    found = read_course(open_run(tmp_path, line(1, **{"sft/loss": 2.0})), artifacts=tmp_path)
    assert found.steps == (1,)


def test_the_working_folder_of_another_run_is_not_shown(tmp_path: Path) -> None:
    run = open_run(tmp_path, line(1, **{"sft/loss": 2.0}), claimed=False)
    with pytest.raises(NoCourseError, match=r"^The run left no metrics behind\.$"):
        read_course(run, artifacts=tmp_path)


@pytest.mark.parametrize("claim", ["", "{", "[]", '{"run": 1}', '"x"'])
def test_a_working_folder_that_cannot_be_read_is_said_to_be(claim: str, tmp_path: Path) -> None:
    run = open_run(tmp_path, "")
    (tmp_path / "lora" / ".work" / "run.json").write_text(claim)
    with pytest.raises(NoCourseError, match="cannot be read"):
        read_course(run, artifacts=tmp_path)


def test_a_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    run = ended_run(tmp_path, "")
    (Path(run.adapter) / "metrics.jsonl").unlink()
    with pytest.raises(NoCourseError, match=rf"^metrics\.jsonl of run {run.pk} is gone, or cannot be read$"):
        read_course(run, artifacts=tmp_path)


@pytest.mark.parametrize("where", ["absolute", "dots", "link"])
def test_nothing_outside_of_the_artifacts_is_read(where: str, tmp_path: Path) -> None:
    artifacts, outside = tmp_path / "artifacts", tmp_path / "outside"
    artifacts.mkdir()
    outside.mkdir()
    (outside / "metrics.jsonl").write_text(line(1, **{"sft/loss": 1.0}))
    if where == "link":
        (artifacts / "run").symlink_to(outside)
    folder = {"absolute": str(outside), "dots": "../outside", "link": str(artifacts / "run")}[where]
    run = TrainingRun.objects.create(config_path="x", config={}, status="succeeded", adapter=folder)
    with pytest.raises(NoCourseError, match="allowed a folder under"):
        read_course(run, artifacts=artifacts)


@pytest.mark.parametrize("folder", ["../outside", "/", "", None, 7])
def test_an_output_dir_outside_of_the_artifacts_is_not_read(folder: object, tmp_path: Path) -> None:
    run = TrainingRun.objects.create(config_path="x", config={"output_dir": folder})
    with pytest.raises(NoCourseError):
        read_course(run, artifacts=tmp_path / "artifacts")


def test_a_file_beyond_all_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LARGEST_BYTES", 10)
    run = ended_run(tmp_path, line(1, **{"sft/loss": 1.0}))
    with pytest.raises(NoCourseError, match="allowed at most 10"):
        read_course(run, artifacts=tmp_path)


def test_each_curve_is_drawn_that_the_run_has_values_of(tmp_path: Path) -> None:
    text = line(1, **{"sft/loss": 3.0, "sft/factor": 1.0, "sft/cluster_coverage": 0.5}) + line(
        2, **{"preference/loss": 0.7, "preference/rewards/margins": 0.1, "preference/factor": 1.5}
    )
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    drawn = {chart.key: chart for chart in curves(found, config=CONFIG, ledger="/ledger/")}
    assert list(drawn) == ["loss", "rewards", "weights", "coverage"]
    assert [(each.label, list(each.values)) for each in drawn["loss"].series] == [
        ("memory", [3.0, None]),
        ("preference", [None, 0.7]),
    ]
    assert drawn["weights"].title == "Factors of the channels"
    assert "0.4 memory, 0.6 preference" in drawn["weights"].note
    assert "memory: from 3.000 to 3.000" in drawn["loss"].summary
    assert drawn["loss"].link == "/ledger/"


def test_weights_that_move_are_drawn_instead_of_factors(tmp_path: Path) -> None:
    text = line(1, **{"sft/weight": 0.4, "preference/weight": 0.6, "sft/factor": 1.0})
    found = read_course(ended_run(tmp_path, text), artifacts=tmp_path)
    (weights,) = curves(found, config=CONFIG, ledger="")
    assert weights.title == "Weights of the channels"
    assert [list(each.values) for each in weights.series] == [[0.4], [0.6]]


def test_a_course_without_a_step_draws_nothing(tmp_path: Path) -> None:
    found = read_course(ended_run(tmp_path, ""), artifacts=tmp_path)
    assert list(curves(found, config=CONFIG, ledger="")) == []
