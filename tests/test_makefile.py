"""The Makefile: what it removes, what it asks for, what it goes on with, and what its programs are told."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, in which all is set up, and whose interpreter says what it is called with."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    for environment in (".venv", ".venv-peers"):
        (tmp_path / environment / "bin").mkdir(parents=True)
        python = tmp_path / environment / "bin" / "python"
        python.write_text('#!/bin/sh\necho "$@ offline=$HF_HUB_OFFLINE"\ncase "$*" in *bench_merge*) exit 1;; esac\n')
        python.chmod(0o755)
    for target in (".venv/.installed", ".venv/.sharegpt", ".venv-peers/.installed", ".env"):
        (tmp_path / target).touch()
    return tmp_path


@pytest.fixture
def make(clone: Path) -> Make:
    """Run a target in the clone."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATA", "HF_HUB_OFFLINE"} and not name.startswith("MAKE")
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True)

    return run


def test_cleaning_leaves_the_adapters_that_people_have_trained(clone: Path, make: Make) -> None:
    for name in ("demo", "qwen3.1-7b-dual"):
        (clone / "artifacts/lora" / name).mkdir(parents=True)

    assert make("clean").returncode == 0

    assert [path.name for path in (clone / "artifacts/lora").iterdir()] == ["qwen3.1-7b-dual"]
    assert not (clone / ".venv").exists()


def test_cleaning_removes_all_that_the_demo_has_made(clone: Path, make: Make) -> None:
    for name in ("demo", "lora/demo", "models/SmolLM2", "references"):
        (clone / "artifacts" / name).mkdir(parents=True)

    assert make("clean").returncode == 0

    assert [path.name for path in (clone / "artifacts").iterdir()] == ["lora"]
    assert not list((clone / "artifacts/lora").iterdir())


def test_a_benchmark_that_misses_its_aim_is_told_and_keeps_no_other_from_its_work(make: Make) -> None:
    done = make("bench")

    assert done.stdout.count("-m tests.benchmarks.") == 8
    assert done.stdout.endswith("failed, or missed an aim: tests.benchmarks.bench_merge\n")
    assert done.returncode == 2


def test_the_benchmark_of_training_asks_for_pairs(make: Make) -> None:
    refused = make("bench-training")

    assert refused.returncode == 2
    assert refused.stdout.startswith("DATA: got none, allowed a JSON list of ")
    assert make("bench-training", "DATA=pairs.json").stdout.splitlines() == [
        "-m tests.benchmarks.bench_training artifacts pairs.json offline=1",
        "-m tests.benchmarks.bench_mixtures artifacts/bench offline=1",
    ]


def test_the_demo_asks_no_hub_for_models_and_the_worker_of_the_admin_may(make: Make) -> None:
    assert "manage.py demo offline=1\n" in make("demo").stdout
    # The first line of the recipe: a stand-in for the worker may be ended before it has said anything.
    assert "manage.py demo_superuser offline=\n" in make("serve").stdout
