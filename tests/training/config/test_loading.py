"""A config is checked as a whole before anything is loaded."""

from pathlib import Path

import pytest

from training.config import ConfigError, TrainingConfig, load_config

PROJECT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((PROJECT / "config" / "training").rglob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return caught.value.problems


def test_there_are_shipped_configs() -> None:
    assert {path.name for path in SHIPPED} >= {"lora_dual.yaml", "lora_demo.yaml"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_config(path)
    assert config.sft_weight == 0.4
    assert config.preference_weight == 0.6
    for named in (config.retention.path, config.evaluation.general_text_path, config.evaluation.probes_path):
        assert named is None or (PROJECT / named).is_file()


def test_the_default_folder_keeps_the_plans_name() -> None:
    assert TrainingConfig(model_name_or_path="any").output_dir == "lora/qwen3.1-7b-dual"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "sft_weight: 0.7\npreference_weight: 0.3\nbeta: -1\ncolour: blue\nlora: {rank: 4}\nsft_batch_size: many\n",
    )
    assert found == [
        "model_name_or_path: is missing and has no default",
        "sft_batch_size: got 'many', input should be a valid integer, unable to parse string as an integer",
        "beta: got -1, input should be greater than 0",
        "lora.rank: unknown key",
        "colour: unknown key",
        "preference_weight: got 0.3, allowed 0.5 to 1 (below it the model recites rather than behaves)",
    ]


def test_the_weights_must_sum_to_one(tmp_path: Path) -> None:
    found = problems(tmp_path, "model_name_or_path: any\nsft_weight: 0.4\npreference_weight: 0.7\n")
    assert found == ["sft_weight + preference_weight: got 0.4 + 0.7 = 1.1, allowed a sum of 1"]


@pytest.mark.parametrize(("preference", "sft"), [(0.5, 0.5), (1.0, 0.0)])
def test_the_preference_weight_may_lie_at_either_end(preference: float, sft: float) -> None:
    config = TrainingConfig(model_name_or_path="any", sft_weight=sft, preference_weight=preference)
    assert config.preference_weight == preference


def test_a_preference_weight_just_under_the_limit_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "model_name_or_path: any\nsft_weight: 0.501\npreference_weight: 0.499\n")
    assert found == ["preference_weight: got 0.499, allowed 0.5 to 1 (below it the model recites rather than behaves)"]


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: 1 problem\n  cannot be read: .*No such file"):
        load_config(tmp_path / "none.yaml")


def test_what_is_not_yaml_is_one_clear_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "beta: [1, 2\n")
    assert found.startswith("is not YAML: ")
    assert "\n" not in found


def test_a_list_at_the_top_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "- beta\n") == ["got list at the top, allowed a mapping of keys to values"]
