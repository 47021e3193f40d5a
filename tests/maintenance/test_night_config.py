"""A night's config: the shipped file says all of it, and what it may not say is named."""

from pathlib import Path

import pytest
import yaml

from maintenance.config import NightlyConfig
from training.config import ConfigError, load_section

SHIPPED = Path(__file__).resolve().parents[2] / "config/maintenance/nightly.yaml"


def refusal(text: str, tmp_path: Path) -> str:
    path = tmp_path / "nightly.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_section(NightlyConfig, path)
    return str(refused.value)


def test_the_shipped_file_has_every_key_at_its_default() -> None:
    assert yaml.safe_load(SHIPPED.read_text()) == NightlyConfig().model_dump(mode="json")


def test_an_empty_section_of_overrides_is_the_default_night(tmp_path: Path) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text("merge: {}\n")
    assert load_section(NightlyConfig, path) == NightlyConfig()


def test_overrides_win_over_the_file() -> None:
    config = load_section(NightlyConfig, SHIPPED, ["reemit.budget=20", "report.email_to=[a@b.example]"])
    assert (config.reemit.budget, config.report.email_to) == (20, ("a@b.example",))


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    told = refusal("merge:\n  similarity_threshold: 1.5\nretire:\n  max_uses: 0\nforget: true\n", tmp_path)
    assert "3 problems" in told
    assert "merge.similarity_threshold: got 1.5" in told
    assert "retire.max_uses: got 0" in told
    assert "forget: unknown key" in told


def test_what_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert "got list at the top, allowed a mapping" in refusal("- merge\n", tmp_path)
