"""`manage.py train_dual`, as a person or a script calls it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from memory.models import SftPair
from tests.training.rows import preference_pairs, sft_pairs
from training.lock import folder_lock
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def config_path(tiny_model_path: str, tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    path = tmp_path / "run.yaml"
    content = {
        "model_name_or_path": tiny_model_path,
        "output_dir": "lora/test",
        "max_steps": 5,
        "max_length": 64,
        "min_sft_pairs": 4,
        "min_preference_pairs": 4,
        "diversity_k": None,
        "evaluation": {"validation_share": 0.0},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def call(*arguments: object) -> str:
    out = StringIO()
    call_command("train_dual", *arguments, stdout=out)
    return out.getvalue()


def test_json_is_one_object_with_the_promised_keys(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    report = json.loads(call("--config", config_path, "--json"))
    assert list(report) == [
        *("run", "status", "adapter", "steps", "sft", "preference"),
        *("evaluation", "tokens_per_second", "seconds"),
    ]
    assert report["status"] == "succeeded"
    assert report["steps"] == 5
    assert report["sft"].keys() == {"loss_first", "loss_last", "batches", "pairs_used"}
    assert (report["sft"]["batches"], report["preference"]["batches"]) == (2, 3)
    assert report["evaluation"].keys() >= {
        *("recall_before", "recall_after", "preference_accuracy_before"),
        *("preference_accuracy_after", "drift_ratio"),
    }
    assert (Path(report["adapter"]) / "adapter_model.safetensors").is_file()
    assert report["tokens_per_second"] > 0


def test_the_table_names_the_adapter(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    shown = call("--config", config_path)
    run = TrainingRun.objects.get()
    assert f"adapter: {run.adapter}" in shown
    assert "pairs used" in shown


def test_a_dry_run_changes_nothing(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    plan = json.loads(call("--config", config_path, "--dry-run", "--json"))
    assert plan["steps"] == 5
    assert plan["sft"]["pool"] == 6
    assert plan["preference"]["batches"] == 3
    assert plan["preference"]["share_of_steps"] == pytest.approx(0.6)
    assert not TrainingRun.objects.exists()
    assert not SftPair.objects.used().exists()
    assert not (config_path.parent / "artifacts").exists()
    assert plan["memory_estimate_bytes"] > 0
    assert plan["memory_estimate_reason"] is None
    assert plan["expected_seconds"] is None


def test_a_dry_run_shows_which_pairs_would_be_trained(config_path: Path) -> None:
    sft_pairs(6, source="manual")
    preference_pairs(6)
    shown = call("--config", config_path, "--dry-run")
    assert "pairs drawn" in shown
    assert "memory pairs by source" in shown
    assert "manual" in shown
    assert "expected time: not known before a first run on this machine" in shown


def test_a_run_tells_the_next_how_long_it_will_take(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    call("--config", config_path)
    sft_pairs(6)
    preference_pairs(6)
    plan = json.loads(call("--config", config_path, "--dry-run", "--json"))
    assert plan["expected_seconds"] > 0


def test_a_value_on_the_command_line_goes_over_the_config_s(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    changes = ("--set", "max_steps=10", "--set", "preference_batch_size=2")
    plan = json.loads(call("--config", config_path, "--dry-run", "--json", *changes))
    assert plan["steps"] == 10
    with pytest.raises(CommandError, match="--set max_steps: allowed key=value"):
        call("--config", config_path, "--set", "max_steps")


def test_a_second_trainer_of_the_folder_is_told_who_holds_it(config_path: Path) -> None:
    with folder_lock(config_path.parent / "artifacts" / "lora" / "test"):
        with pytest.raises(CommandError, match=r"process \d+ on .* trains here") as caught:
            call("--config", config_path)
        assert caught.value.returncode == 4


def test_nothing_to_resume_is_an_error_of_one_line(config_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^[^\n]+: no run stopped before its end; [^\n]+$") as caught:
        call("--config", config_path, "--resume")
    assert caught.value.returncode == 1


def test_a_run_that_diverges_is_an_error_of_one_line(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    rates = ("--set", "sft_learning_rate=1e30", "--set", "preference_learning_rate=1e30", "--set", "warmup_steps=0")
    with pytest.raises(CommandError, match=r"^training failed: the loss became [^\n]+ the pairs are free again$") as it:
        call("--config", config_path, *rates)
    assert it.value.returncode == 2


def test_a_stopped_run_says_how_it_goes_on(config_path: Path) -> None:
    """The signal comes in the first step, as the terminal sends it at Ctrl-C."""
    sft_pairs(6)
    preference_pairs(6)

    def interrupt(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith('INSERT INTO "training_pairuse"') and PairUse.objects.count() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return execute(sql, *arguments)

    with connection.execute_wrapper(interrupt), pytest.raises(CommandError) as caught:
        call("--config", config_path)
    assert caught.value.returncode == 130
    assert str(caught.value) == (
        "stopped after step 1; its pairs stay marked, "
        f"`manage.py train_dual --config {config_path} --resume` goes on from there"
    )
    report = json.loads(call("--config", config_path, "--resume", "--json"))
    assert (report["status"], report["steps"]) == ("succeeded", 5)


def test_a_bad_config_is_one_error_with_every_problem(config_path: Path) -> None:
    config_path.write_text("preference_weight: 0.2\nbeta: none\n", encoding="utf-8")
    with pytest.raises(CommandError) as caught:
        call("--config", config_path)
    assert str(caught.value).splitlines()[0] == f"{config_path}: 4 problems"


def test_too_few_pairs_are_an_error_of_one_line(config_path: Path) -> None:
    sft_pairs(2)
    with pytest.raises(CommandError, match=r"^the memory channel has 2 pairs to train .*allowed 4 or more"):
        call("--config", config_path)


def test_a_model_that_is_not_there_is_an_error_of_one_line(config_path: Path) -> None:
    sft_pairs(6)
    preference_pairs(6)
    config_path.write_text(config_path.read_text().replace("model_name_or_path: ", "model_name_or_path: /none"))
    with pytest.raises(CommandError, match=r"^model_name_or_path: /none.* cannot be loaded: [^\n]+$"):
        call("--config", config_path)
    assert TrainingRun.objects.get().status == TrainingRun.Status.FAILED


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DEEPSPEED"),
        ("ACCELERATE_USE_MEGATRON_LM", "MEGATRON_LM"),
    ],
)
def test_processes_that_share_a_model_are_refused_in_one_line(
    config_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, kind: str
) -> None:
    sft_pairs(6)
    preference_pairs(6)
    monkeypatch.setenv(flag, "true")
    with pytest.raises(
        CommandError,
        match=rf"^accelerate launch: got the distributed type {kind}, allowed one process, or data parallel ones, each "
        r"with the whole model \(MULTI_CPU or MULTI_GPU\); docs/scaling.md says why$",
    ) as refused:
        call("--config", config_path)
    assert refused.value.returncode == 1
    assert not TrainingRun.objects.exists()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        call("--config", config_path)


def test_processes_on_other_processors_are_refused_as_well(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartialState(cpu=True), "distributed_type", DistributedType.XLA)
    with pytest.raises(CommandError, match=r"^accelerate launch: got the distributed type XLA, allowed one process"):
        call("--config", config_path)


def test_a_dry_run_never_imports_torch() -> None:
    """Importing the command, which a dry run does, must not cost the seconds that torch takes."""
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import training.management.commands.train_dual; "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
