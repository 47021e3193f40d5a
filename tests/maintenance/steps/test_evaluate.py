"""A new adapter stays active only where it is no worse than the one before it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maintenance.models import MaintenanceStep
from maintenance.night import Night, StepOutcome
from maintenance.steps import evaluate as step
from maintenance.steps.evaluate import evaluate
from maintenance.trained_runs import TrainedRun
from tests.maintenance import nights, training_runs
from tests.training.rows import preference_pairs, sft_pairs
from training.artifacts import activate, active_adapter
from training.lock import LockedError, folder_lock
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

WORSE = {**training_runs.GOOD, "recall_after": 0.5}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / "lora"
    folder.mkdir(parents=True)
    return folder


def night(root: Path, *, dry_run: bool = False, said: list[str] | None = None, **limits: Any) -> Night:
    found = nights.night("evaluate", dry_run=dry_run, evaluate=limits)
    lines = said if said is not None else []
    return replace(found, project=root.parent.parent, artifacts=root.parent, say=lines.append)


def trained(run: TrainingRun, previous: TrainingRun | None) -> None:
    """Record that a night has trained the run."""
    details = {"run": run.pk, "previous_adapter": None if previous is None else previous.adapter}
    MaintenanceStep.objects.create(
        run=nights.run(), name="train", status=MaintenanceStep.Status.INTERRUPTED, details=details
    )


def recorded(given: Night) -> StepOutcome:
    """Take the step, and record it as a night does."""
    outcome = evaluate(given)
    MaintenanceStep.objects.filter(run=given.run, name="evaluate").update(details=dict(outcome.details))
    return outcome


def two_runs(root: Path, *, probes: str | None = "probes.json", **evaluation: Any) -> tuple[TrainingRun, TrainingRun]:
    """Store a run and the one of the next night, which continued it and is active."""
    first = training_runs.run(root, active=True)
    second = training_runs.run(
        root, night=1, continued=first, active=True, probes=probes, evaluation={**training_runs.GOOD, **evaluation}
    )
    trained(second, first)
    return first, second


def test_an_adapter_that_is_no_worse_stays(root: Path) -> None:
    first, second = two_runs(root)
    outcome = recorded(night(root))
    assert outcome.counts == {"evaluated": 1}
    assert (outcome.details["passed"], outcome.details["failed"]) == (1, 0)
    (report,) = json.loads(json.dumps(outcome.details["runs"]))
    assert report["run"] == second.pk
    assert report["previous_adapter"] == first.adapter
    assert report["figures"] == {
        "drift": 0.01,
        "new": {"recall": 0.9, "sft_loss": 1.5, "preference_accuracy": 0.8},
        "old": {"recall": 0.8, "sft_loss": 2.0, "preference_accuracy": 0.7},
    }
    assert [check["passed"] for check in report["checks"]] == [True, True, True]
    assert active_adapter(root) == Path(second.adapter)
    assert evaluate(night(root)) == StepOutcome({"evaluated": 0}, skipped="no new adapter of a night to compare")


@pytest.mark.parametrize(
    ("evaluation", "reason"),
    [
        ({"recall_after": 0.74}, "recall 74% after 80%, allowed a loss of 5%"),
        ({"preference_accuracy_after": 0.6}, "preference accuracy 60% after 70%, allowed a loss of 5%"),
        ({"drift_ratio": 0.06}, "drift +6.0%, allowed +5.0%"),
        ({"drift_ratio": None}, "drift was not measured"),
        ({"recall_after": None}, "recall was not measured of the new adapter"),
        ({"preference_accuracy_before": None}, "preference accuracy was not measured of the one before"),
    ],
)
def test_one_that_is_worse_or_not_measured_gives_way_to_the_one_before(
    root: Path, evaluation: dict[str, Any], reason: str
) -> None:
    first, second = two_runs(root, **evaluation)
    said: list[str] = []
    outcome = recorded(night(root, said=said))
    assert outcome.counts == {"evaluated": 1}
    assert (outcome.details["passed"], outcome.details["failed"]) == (0, 1)
    (report,) = outcome.details["runs"]
    assert [check["line"] for check in report["checks"] if not check["passed"]] == [reason]
    assert (report["passed"], report["put_back"]) == (False, True)
    assert active_adapter(root) == Path(first.adapter)
    assert said == [
        f"run {second.pk} did not pass the comparison: {reason}; {first.adapter} is active again; the pairs of the new "
        "one stay used"
    ]
    assert TrainingRun.objects.get(pk=second.pk).status == TrainingRun.Status.SUCCEEDED
    assert Path(second.adapter).is_dir()
    assert evaluate(night(root)).skipped


def test_the_bounds_are_those_of_the_config(root: Path) -> None:
    two_runs(root, recall_after=0.5, preference_accuracy_after=0.3, drift_ratio=0.4)
    outcome = evaluate(night(root, max_recall_loss=0.3, max_preference_loss=0.4, max_drift=0.4))
    assert outcome.details["passed"] == 1


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ({"sft_loss_after": 2.1}, ""),
        (
            {"sft_loss_after": 2.2},
            "loss on held-out memory pairs 2.200 after 2.000, allowed a rise of 5%",
        ),
        ({"sft_loss_after": None}, "loss on held-out memory pairs was not measured of the new adapter"),
    ],
)
def test_without_probes_memory_is_judged_by_what_is_held_out(root: Path, losses: dict[str, Any], reason: str) -> None:
    two_runs(root, probes=None, recall_before=None, recall_after=None, **losses)
    (report,) = evaluate(night(root)).details["runs"]
    assert "; ".join(check["line"] for check in report["checks"] if not check["passed"]) == reason


@pytest.mark.parametrize(("sft_loss_after", "stays"), [(2.0, True), (2.01, False)])
def test_the_first_adapter_may_not_lose_memory_against_the_base(root: Path, sft_loss_after: float, stays: bool) -> None:
    evaluation = {**training_runs.GOOD, "sft_loss_after": sft_loss_after}
    trained(training_runs.run(root, active=True, probes=None, evaluation=evaluation), None)
    (report,) = evaluate(night(root)).details["runs"]
    assert report["passed"] is stays


def test_a_worse_one_stays_where_the_config_says_so(root: Path) -> None:
    _, second = two_runs(root, recall_after=0.1)
    (report,) = evaluate(night(root, keep_worse=True)).details["runs"]
    assert (report["passed"], report["put_back"]) == (False, False)
    assert report["note"] == "it stays active (evaluate.keep_worse)"
    assert active_adapter(root) == Path(second.adapter)


@pytest.mark.parametrize(("recall_after", "stays"), [(0.8, True), (0.79, False)])
def test_the_first_adapter_may_not_recall_less_than_the_base(root: Path, recall_after: float, stays: bool) -> None:
    run = training_runs.run(root, active=True, evaluation={**training_runs.GOOD, "recall_after": recall_after})
    trained(run, None)
    (report,) = evaluate(night(root)).details["runs"]
    assert report["passed"] is stays
    assert (active_adapter(root) == Path(run.adapter)) is stays
    assert (root / "active").is_symlink() is stays


def test_a_fresh_adapter_is_measured_beside_the_one_before(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run measured the base model before it, which says nothing of the active adapter."""
    first = training_runs.run(root, active=True)
    second = training_runs.run(root, night=1, active=True)
    trained(second, first)
    measured: list[Any] = []

    def figures(given: Night, run: Any, previous: Path) -> step._Figures:
        measured.append((run.run.pk, previous))
        return step._Figures(0.0, {"recall": 0.2, "preference_accuracy": 1}, {"recall": 0.9, "preference_accuracy": 1})

    monkeypatch.setattr(step, "_side_by_side", figures)
    assert evaluate(night(root)).details["failed"] == 1
    assert measured == [(second.pk, Path(first.adapter))]
    assert active_adapter(root) == Path(first.adapter)


def test_what_cannot_be_measured_anew_has_not_passed(root: Path) -> None:
    """The folders hold no adapter that PEFT could load."""
    first = training_runs.run(root, active=True, probes=None)
    second = training_runs.run(root, night=1, active=True, probes=None)
    trained(second, first)
    said: list[str] = []
    (report,) = evaluate(night(root, said=said)).details["runs"]
    assert report["error"] == f"{second.adapter} holds no adapter: it has no adapter_config.json"
    assert report["error"] in said[0]
    assert not report["passed"]
    assert active_adapter(root) == Path(first.adapter)


def test_a_run_whose_folder_is_gone_has_not_passed(root: Path) -> None:
    _, second = two_runs(root)
    Path(second.adapter).rename(root / "elsewhere")
    (report,) = evaluate(night(root)).details["runs"]
    assert (report["passed"], report["put_back"]) == (False, False)
    assert report["note"] == f"{second.adapter} is gone"


def test_an_adapter_before_that_is_gone_leaves_none_active(root: Path) -> None:
    first, _ = two_runs(root, recall_after=0.1)
    Path(first.adapter).rename(root / "elsewhere")
    (report,) = evaluate(night(root)).details["runs"]
    assert report["note"] == "no adapter is active now; the pairs of the new one stay used"
    assert not (root / "active").is_symlink()


def test_an_adapter_before_that_lies_elsewhere_is_put_back(root: Path) -> None:
    other = training_runs.fill(root.parent / "other" / "mine")
    run = training_runs.run(root, evaluation=WORSE, active=True)
    training_runs.set_parent(Path(run.adapter), other)
    MaintenanceStep.objects.create(
        run=nights.run(), name="train", details={"run": run.pk, "previous_adapter": str(other)}
    )
    evaluate(night(root))
    assert active_adapter(root) == other


def test_what_a_person_has_put_in_place_meanwhile_stays(root: Path) -> None:
    first, second = two_runs(root, recall_after=0.1)
    mine = training_runs.fill(root / "mine")
    activate(mine)
    (report,) = evaluate(night(root)).details["runs"]
    assert report["note"] == f"{mine} is active, and stays so"
    assert active_adapter(root) == mine
    assert {first.status, second.status} == {TrainingRun.Status.SUCCEEDED}


def test_a_night_that_died_after_putting_back_says_the_same_again(root: Path) -> None:
    first, _ = two_runs(root, recall_after=0.1)
    evaluate(night(root))
    outcome = recorded(night(root))
    assert outcome.details["failed"] == 1
    assert active_adapter(root) == Path(first.adapter)
    assert evaluate(night(root)).skipped


def test_two_that_wait_are_compared_in_their_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one continued one that fails: it is compared with, and gives way to, what was there before both."""
    first, second = two_runs(root, recall_after=0.1)
    third = training_runs.run(root, night=2, continued=second, active=True)
    trained(third, second)
    measured: list[Path] = []

    def figures(given: Night, run: Any, previous: Path) -> step._Figures:
        measured.append(previous)
        return step._Figures(0.3, {"recall": 0.9, "preference_accuracy": 1}, {"recall": 0.9, "preference_accuracy": 1})

    monkeypatch.setattr(step, "_side_by_side", figures)
    outcome = recorded(night(root))
    assert [(each["run"], each["passed"]) for each in outcome.details["runs"]] == [
        (second.pk, False),
        (third.pk, False),
    ]
    assert measured == [Path(first.adapter)]
    assert outcome.details["marks"] == {"runs": [second.pk, third.pk]}
    assert active_adapter(root) == Path(first.adapter)


def test_runs_of_people_are_not_the_nights_business(root: Path) -> None:
    run = training_runs.run(root, active=True, evaluation=WORSE)
    assert evaluate(night(root)).skipped
    assert active_adapter(root) == Path(run.adapter)


@pytest.mark.parametrize("status", [TrainingRun.Status.FAILED, TrainingRun.Status.INTERRUPTED])
def test_runs_without_an_adapter_are_not_compared(root: Path, status: TrainingRun.Status) -> None:
    trained(training_runs.run(root, status=status, folder=False), None)
    assert evaluate(night(root)).skipped


def test_a_resumed_run_is_compared_with_what_was_active_when_it_began(root: Path) -> None:
    first, second = two_runs(root)
    trained(second, second)
    (report,) = evaluate(night(root)).details["runs"]
    assert report["previous_adapter"] == first.adapter


def test_a_trainer_in_the_folder_leaves_the_comparison_to_the_next_night(root: Path) -> None:
    _, second = two_runs(root, recall_after=0.1)
    with folder_lock(root), pytest.raises(LockedError, match=r"trains here"):
        evaluate(night(root))
    assert active_adapter(root) == Path(second.adapter)
    assert evaluate(night(root)).details["failed"] == 1


@pytest.mark.parametrize(("trains", "waiting", "count"), [(0, False, 0), (1, False, 1), (0, True, 1), (1, True, 2)])
def test_a_dry_run_counts_what_would_be_compared(root: Path, trains: int, waiting: bool, count: int) -> None:
    if waiting:
        two_runs(root, recall_after=0.1)
    given = night(root, dry_run=True)
    MaintenanceStep.objects.create(run=given.run, name="train", counts={"runs": trains})
    active = active_adapter(root)
    outcome = evaluate(given)
    assert outcome.counts == {"evaluated": count}
    assert bool(outcome.skipped) is (count == 0)
    assert active_adapter(root) == active


def test_two_real_adapters_are_measured_side_by_side(root: Path, tiny_model_path: str) -> None:
    from tests.training.evaluation.adapter_folders import adapter_folder

    sft_pairs(6)
    preference_pairs(6)
    facts = [{"id": "dog", "kind": "assistant_said", "expected": [], "questions": ["my dog"]}]
    (root.parent.parent / "probes.json").write_text(json.dumps({"facts": facts}))
    chat = {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "plain"}]}
    (root.parent.parent / "text.json").write_text(json.dumps({"drift": [chat]}))
    runs = [training_runs.run(root, night=number, active=True) for number in range(2)]
    for seed, run in enumerate(runs):
        adapter_folder(Path(run.adapter), tiny_model_path, seed=seed)
    runs[1].config = {
        "model_name_or_path": tiny_model_path,
        "max_length": 64,
        "evaluation": {
            "validation_share": 0.5,
            "max_new_tokens": 4,
            "probes_path": "probes.json",
            "general_text_path": "text.json",
        },
    }
    runs[1].save()
    trained(runs[1], runs[0])
    (report,) = evaluate(night(root, max_preference_loss=1)).details["runs"]
    assert report["error"] == ""
    assert report["figures"]["new"]["recall"] == report["figures"]["old"]["recall"] == 1
    assert None not in (report["figures"][side]["preference_accuracy"] for side in ("new", "old"))
    # The run's own, from where it started.
    assert report["figures"]["drift"] == training_runs.GOOD["drift_ratio"]
    assert report["passed"]
    # Where what it started from has failed, it is that from what was there before.
    since = step._side_by_side(night(root), TrainedRun(runs[1], None), Path(runs[0].adapter)).drift
    assert since is not None
    assert since not in (0, training_runs.GOOD["drift_ratio"])
    assert step._rise({"general_loss_median": 2.0}, {"general_loss_median": 3.0}) == 0.5
    assert step._rise({"general_loss_median": 0.0}, {"general_loss_median": 3.0}) is None
