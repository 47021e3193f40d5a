"""A value on the command line wins over the file's, and is checked like it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.training.config.test_loading import MODEL, problems, write
from training.config import load_config
from training.config.overrides import overridden


def test_a_value_is_read_as_yaml(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, f"{MODEL}beta: 0.2\nmax_steps: 10\n"),
        ["beta=0.3", "max_steps=null", "lora.target_modules=[q_proj, v_proj]", "sft_filters.since=2026-01-01"],
    )
    assert (config.beta, config.max_steps) == (0.3, None)
    assert config.lora.target_modules == ("q_proj", "v_proj")
    assert config.sft_filters.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_dotted_key_leaves_its_neighbours(tmp_path: Path) -> None:
    path = write(tmp_path, f"{MODEL}lora: {{r: 4, lora_alpha: 8}}\npreference_shares: null\n")
    config = load_config(path, ["lora.r=2", "preference_shares.replay=0.5", "recency_decay_seconds.sft.fast=60"])
    assert (config.lora.r, config.lora.lora_alpha) == (2, 8)
    assert config.preference_shares is not None
    assert (config.preference_shares.curated, config.preference_shares.replay) == (1.0, 0.5)
    assert (config.recency_decay_seconds.sft.fast, config.recency_decay_seconds.sft.slow) == (60, 7200)


def test_the_content_of_the_file_stays_as_it_was() -> None:
    content = {"lora": {"r": 4}}
    assert overridden(content, ["lora.r=2"]) == ({"lora": {"r": 2}}, [])
    assert content == {"lora": {"r": 4}}


def test_the_last_of_two_values_wins(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MODEL), ["seed=1", "seed=2"]).seed == 2


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MODEL), ["model_name_or_path=/models/a=b"]).model_name_or_path == "/models/a=b"


@pytest.mark.parametrize("override", ["beta", "=0.1", "lora.=2", ".r=2", ""])
def test_an_override_without_key_or_value_is_refused(tmp_path: Path, override: str) -> None:
    assert problems(tmp_path, MODEL, override) == [f"--set {override}: allowed key=value"]


def test_bad_overrides_are_reported_with_all_that_is_wrong_in_the_file(tmp_path: Path) -> None:
    overrides = ["colour=blue", "lora.rank=4", "beta.x=1", "max_length=[1", "r"]
    found = problems(tmp_path, f"{MODEL}seed: -1\nbeta: 0.2\n", *overrides)
    assert found.pop(1).startswith("--set max_length=[1: is not YAML: ")
    assert found == [
        "--set beta.x=1: beta holds no keys",
        "--set r: allowed key=value",
        "lora.rank: unknown key",
        "seed: got -1, input should be greater than or equal to 0",
        "colour: unknown key",
    ]
