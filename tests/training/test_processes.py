"""Two processes train what one would."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

POPULATE = (
    "import django; django.setup()\n"
    "from tests.training.rows import preference_pairs, sft_pairs\n"
    "sft_pairs(12); preference_pairs(12)"
)
# A batch of five does not divide by two: each process then trains it whole.
CONFIG: dict[str, Any] = {
    "output_dir": "lora/test",
    "max_steps": 8,
    "sft_batch_size": 4,
    "preference_batch_size": 5,
    "sft_learning_rate": 5e-3,
    "preference_learning_rate": 5e-3,
    "max_length": 64,
    "mixed_precision": "no",
    "diversity_k": None,
    "normalize_losses": True,
    "min_sft_pairs": 4,
    "min_preference_pairs": 4,
    "early_stopping": {"every_steps": 3, "patience": 9},
    "evaluation": {"validation_share": 0.2},
}
LAUNCH = ("-m", "accelerate.commands.launch", "--num_processes", "2", "--multi_gpu", "--mixed_precision", "no")


def trained(model_path: str, folder: Path, *launcher: str) -> dict[str, Any]:
    """Train in a database and a folder of their own; return the report, the ledger, the losses."""
    folder.mkdir()
    database = folder / "pairs.sqlite3"
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, "model_name_or_path": model_path}), encoding="utf-8")
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{database}",
        "ARTIFACTS_DIR": str(folder / "artifacts"),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python("manage.py", "migrate", "-v0")
    python("-c", POPULATE)
    report = json.loads(python(*launcher, "manage.py", "train_dual", "--config", str(config), "--json"))
    with sqlite3.connect(database) as connection:
        uses = connection.execute("SELECT step, sft_pair_id, preference_pair_id FROM training_pairuse").fetchall()
        runs = connection.execute("SELECT status FROM training_trainingrun").fetchall()
    lines = (Path(report["adapter"]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    return {"uses": sorted(uses, key=str), "runs": runs, "steps": steps}


@pytest.mark.slow
def test_two_processes_have_the_samples_and_losses_of_one(tiny_model_path: str, tmp_path: Path) -> None:
    one = trained(tiny_model_path, tmp_path / "one")
    two = trained(tiny_model_path, tmp_path / "two", *LAUNCH)
    assert two["runs"] == [("succeeded",)]
    assert len(two["uses"]) == len(set(two["uses"])) > 20
    assert two["uses"] == one["uses"]
    for channel in ("sft", "preference"):
        losses = [[step.get(f"{channel}/loss") for step in each["steps"]] for each in (one, two)]
        assert losses[1] == pytest.approx(losses[0], abs=1e-3)
        assert len([loss for loss in losses[0] if loss is not None]) > 2
    margins = [[step.get("preference/rewards/margins") for step in each["steps"]] for each in (one, two)]
    assert margins[1] == pytest.approx(margins[0], abs=1e-3)
