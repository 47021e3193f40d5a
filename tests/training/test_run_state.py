"""What is stored of a run comes back as it was."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone

from tests.training.records import preference_record, sft_record
from tests.training.runs import CONFIG_PATH, config
from training.models import TrainingRun
from training.run_state import PreparedRun, claim_state, planned_steps, read_claim, read_state, write_state
from training.sampling.plan import PlannedBatch, PlannedStep, PoolSampling, RunPlan
from training.selection import Pool

USER, ASSISTANT = {"role": "user", "content": "grüß Gott"}, {"role": "assistant", "content": "tell me\nmore"}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedRun:
    steps = (
        PlannedStep((PlannedBatch("sft", (1, 0), 0),)),
        PlannedStep((PlannedBatch("sft", (1,), 1), PlannedBatch("preference", (0,), 0))),
    )
    return PreparedRun(
        config=config("any", sft_filters={"since": datetime(2026, 1, 1, tzinfo=UTC)}, sft_learning_rate=1e-4 / 3),
        config_path=CONFIG_PATH,
        adapter=tmp_path / "run-1",
        sft=Pool((sft_record(1, question="grüß\u2028Gott"), sft_record(2, weight=1 / 3)), (sft_record(3),)),
        preference=Pool((preference_record(4),), ()),
        retention=(([USER], [ASSISTANT]),),
        plan=RunPlan(
            steps,
            PoolSampling(np.array([1.0, 1 / 3]), np.array([1, 0])),
            PoolSampling(np.array([0.1])),
            ({"sft/epoch": 0.0}, {"sft/epoch": 1.0}),
        ),
    )


def without_tuples(value: object) -> object:
    """Return the value with lists for tuples: messages do not mind which."""
    if isinstance(value, (list, tuple)):
        return [without_tuples(each) for each in value]
    return value


def test_everything_comes_back(prepared: PreparedRun, tmp_path: Path) -> None:
    found = read_state(write_state(tmp_path / ".work", prepared))
    assert (found.config, found.config_path, found.adapter) == (prepared.config, CONFIG_PATH, tmp_path / "run-1")
    for pool, expected in ((found.sft, prepared.sft), (found.preference, prepared.preference)):
        for records, originals in ((pool.train, expected.train), (pool.held_out, expected.held_out)):
            assert len(records) == len(originals)
            for record, original in zip(records, originals, strict=True):
                assert type(record) is type(original)
                for name in type(original).__dataclass_fields__:
                    assert without_tuples(getattr(record, name)) == without_tuples(getattr(original, name)), name
    assert without_tuples(found.retention) == without_tuples(prepared.retention)
    assert (found.plan.steps, found.plan.statistics) == (prepared.plan.steps, prepared.plan.statistics)
    np.testing.assert_array_equal(found.plan.sft.weights, prepared.plan.sft.weights)
    np.testing.assert_array_equal(found.plan.sft.clusters, prepared.plan.sft.clusters)
    assert found.plan.preference.clusters is None


def test_the_number_of_steps_is_known_without_the_pools(prepared: PreparedRun, tmp_path: Path) -> None:
    state = write_state(tmp_path / ".work", prepared)
    for pool in state.glob("*.jsonl"):
        pool.unlink()
    assert planned_steps(state) == 2


def test_a_state_counts_once_a_run_has_claimed_it(prepared: PreparedRun, tmp_path: Path) -> None:
    work = tmp_path / ".work"
    state = write_state(work, prepared)
    assert read_claim(work) is None
    run = TrainingRun(pk=7, started_at=timezone.now())
    claim_state(state, work, run)
    claim = read_claim(work)
    assert claim is not None
    assert (claim.run, claim.name) == (7, run.folder_name)
    assert not state.exists()
