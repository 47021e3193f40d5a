"""The configs that come with the project load, and the nightly one shows every key there is."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from training.config import TrainingConfig, load_config
from training.config.sections import Section, section_of

PROJECT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((PROJECT / "config" / "training").rglob("*.yaml"))
NIGHTLY = PROJECT / "config" / "training" / "lora_dual.yaml"


def keys(section: type[Section], prefix: str = "") -> set[str]:
    """Return the dotted keys of a section; one that may be null counts as a value."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        found |= keys(inner, f"{prefix}{name}.") if inner is field.annotation and inner else {f"{prefix}{name}"}
    return found


def given(content: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in content.items():
        found |= given(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"}
    return found


def test_there_are_shipped_configs() -> None:
    assert {path.name for path in SHIPPED} >= {"lora_dual.yaml", "lora_demo.yaml"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_config(path)
    assert config.sft_weight == 0.4
    assert config.preference_weight == 0.6
    for named in (config.retention.path, config.evaluation.general_text_path, config.evaluation.probes_path):
        assert named is None or (PROJECT / named).is_file()


def test_the_nightly_config_shows_every_key() -> None:
    assert given(yaml.safe_load(NIGHTLY.read_text(encoding="utf-8"))) == keys(TrainingConfig)


def test_the_nightly_config_keeps_the_plans_values() -> None:
    config = load_config(NIGHTLY)
    assert config.batch_mixing == "interleaved"
    assert config.output_dir == TrainingConfig(model_name_or_path="any").output_dir == "lora/qwen3.1-7b-dual"
    for decay in (config.recency_decay_seconds.sft, config.recency_decay_seconds.preference):
        assert (decay.fast, decay.slow) == (1800, 7200)
