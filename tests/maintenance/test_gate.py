"""An adapter stays only if it is measured, and not worse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance.gate import Bounds, gate

BOUNDS = Bounds(drift=0.05, recall_loss=0.05, sft_loss_rise=0.1, preference_loss=0.1)
SHARES = st.floats(0, 1)


def failed(
    *, drift: float | None = 0.0, new: dict[str, Any] | None = None, old: dict[str, Any] | None = None
) -> set[str]:
    figures = {"recall": 0.5, "preference_accuracy": 0.5}
    checks = gate(
        drift=drift, new={**figures, **(new or {})}, old={**figures, **(old or {})}, has_probes=True, bounds=BOUNDS
    )
    assert [check.name for check in checks] == ["drift", "recall", "preference"]
    return {check.name for check in checks if not check.passed}


def test_an_adapter_that_is_as_good_passes() -> None:
    assert failed() == set()


@pytest.mark.parametrize(
    ("drift", "new", "names"),
    [
        (0.051, {}, {"drift"}),
        (0.05, {}, set()),
        (-0.5, {}, set()),
        (0.0, {"recall": 0.44}, {"recall"}),
        (0.0, {"recall": 0.45}, set()),
        (0.0, {"preference_accuracy": 0.39}, {"preference"}),
        (0.0, {"preference_accuracy": 0.4}, set()),
        (0.2, {"recall": 0.0, "preference_accuracy": 0.0}, {"drift", "recall", "preference"}),
    ],
)
def test_each_figure_has_its_own_bound(drift: float, new: dict[str, Any], names: set[str]) -> None:
    assert failed(drift=drift, new=new) == names


@pytest.mark.parametrize(
    ("missing", "name", "line"),
    [
        ({"drift": None}, "drift", "drift was not measured"),
        ({"new": {"recall": None}}, "recall", "recall was not measured of the new adapter"),
        ({"old": {"recall": None}}, "recall", "recall was not measured of the one before"),
        (
            {"new": {"preference_accuracy": None}, "old": {"preference_accuracy": None}},
            "preference",
            "preference accuracy was not measured of the new adapter and the one before",
        ),
    ],
)
def test_what_is_not_measured_fails_by_name(missing: dict[str, Any], name: str, line: str) -> None:
    assert failed(**missing) == {name}
    assert line in {check.line for check in gate(**_whole(missing), has_probes=True, bounds=BOUNDS)}


def _whole(changes: dict[str, Any]) -> dict[str, Any]:
    figures = {"recall": 0.5, "preference_accuracy": 0.5}
    return {
        "drift": changes.get("drift", 0.0),
        "new": {**figures, **changes.get("new", {})},
        "old": {**figures, **changes.get("old", {})},
    }


def test_the_line_tells_figures_and_bound() -> None:
    drift, recall, _ = gate(**_whole({"drift": 0.021, "new": {"recall": 0.25}}), has_probes=True, bounds=BOUNDS)
    assert drift.line == "drift +2.1%, allowed +5.0%"
    assert recall.line == "recall 25% after 50%, allowed a loss of 5%"


@pytest.mark.parametrize(("loss", "passes"), [(2.0, True), (2.2, True), (2.21, False), (None, False)])
def test_without_probes_the_loss_on_held_out_pairs_takes_the_place_of_recall(loss: float | None, passes: bool) -> None:
    shares = {"preference_accuracy": 0.5}
    _, memory, _ = gate(
        drift=0.0, new={"sft_loss": loss, **shares}, old={"sft_loss": 2.0, **shares}, has_probes=False, bounds=BOUNDS
    )
    assert (memory.name, memory.passed) == ("sft_loss", passes)


def test_probes_whose_recall_is_missing_are_not_replaced_by_the_loss() -> None:
    figures = {"sft_loss": 1.0, "preference_accuracy": 0.5}
    _, memory, _ = gate(drift=0.0, new=figures, old=figures, has_probes=True, bounds=BOUNDS)
    assert (memory.name, memory.passed) == ("recall", False)


@given(st.integers(1, 400), st.data())
def test_a_loss_of_exactly_the_bound_is_allowed_whatever_the_rounding(count: int, data: st.DataObject) -> None:
    """Recall is a share of few probes: 1 - 0.95 is more than 0.05 in floating point."""
    lost = data.draw(st.integers(0, count))
    old = data.draw(st.integers(lost, count))
    bounds = Bounds(drift=0, recall_loss=lost / count, sft_loss_rise=0, preference_loss=0)
    figures = {"preference_accuracy": 0.5}
    new = {"recall": (old - lost) / count, **figures}
    _, recall, _ = gate(drift=0.0, new=new, old={"recall": old / count, **figures}, has_probes=True, bounds=bounds)
    assert recall.passed


@given(SHARES, SHARES, SHARES)
def test_more_loss_never_passes_where_less_fails(first: float, second: float, old: float) -> None:
    worse, better = sorted((first, second))
    if "recall" in failed(new={"recall": better}, old={"recall": old}):
        assert "recall" in failed(new={"recall": worse}, old={"recall": old})
