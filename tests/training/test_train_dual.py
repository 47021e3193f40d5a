"""`manage.py train_dual`, as a person or a script calls it."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from memory.models import SftPair
from tests.training.rows import preference_pairs, sft_pairs
from training.models import TrainingRun

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
    assert "pairs drawn" in call("--config", config_path, "--dry-run")


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


def test_a_dry_run_never_imports_torch() -> None:
    """Importing the command, which a dry run does, must not cost the seconds that torch takes."""
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; django.setup(); "
        "import training.management.commands.train_dual; "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
