"""A run's folder is whole or not there."""

import json
from pathlib import Path

import pytest

from training.artifacts import (
    OutsideRootError,
    activate,
    active_adapter,
    adapter_root,
    deactivate,
    starting_adapter,
    write_json,
    write_run_folder,
)
from training.config import TrainingConfig, load_config

CONFIG = TrainingConfig(model_name_or_path="any", output_dir="lora/test", seed=7)


def save_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"weights")


def test_the_folder_holds_adapter_config_and_manifest(tmp_path: Path) -> None:
    folder = write_run_folder(tmp_path, "run-1", config=CONFIG, manifest={"run": 1}, write_files=save_weights)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["run"] == 1
    assert manifest["files"] == ["adapter_model.safetensors", "config.yaml"]
    assert load_config(folder / "config.yaml") == CONFIG


def test_a_failed_save_leaves_nothing_new_behind(tmp_path: Path) -> None:
    write_run_folder(tmp_path, "run-1", config=CONFIG, manifest={}, write_files=save_weights)

    def full_disk(folder: Path) -> None:
        save_weights(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_run_folder(tmp_path, "run-2", config=CONFIG, manifest={}, write_files=full_disk)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["active", "run-1"]
    assert (tmp_path / "active").resolve() == tmp_path / "run-1"


def test_the_active_link_moves_to_the_newest_run(tmp_path: Path) -> None:
    for name in ("run-1", "run-2"):
        write_run_folder(tmp_path, name, config=CONFIG, manifest={}, write_files=save_weights)
    assert (tmp_path / "active" / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "active").resolve() == tmp_path / "run-2"


@pytest.mark.parametrize("init_adapter", ["../elsewhere", "/etc/adapters", "."])
def test_an_adapter_outside_the_artifacts_is_refused(tmp_path: Path, init_adapter: str) -> None:
    config = CONFIG.model_copy(update={"init_adapter": init_adapter})
    with pytest.raises(OutsideRootError, match=rf"^init_adapter: got {init_adapter}, allowed a folder under "):
        starting_adapter(config, artifacts_dir=tmp_path)


def test_a_run_starts_afresh_or_from_the_active_adapter_or_from_a_folder(tmp_path: Path) -> None:
    continuing = CONFIG.model_copy(update={"init_adapter": "continue"})
    assert starting_adapter(CONFIG, artifacts_dir=tmp_path) is None
    assert starting_adapter(continuing, artifacts_dir=tmp_path) is None
    root = adapter_root(CONFIG, artifacts_dir=tmp_path)
    written = write_run_folder(root, "run-1", config=CONFIG, manifest={}, write_files=save_weights)
    assert starting_adapter(continuing, artifacts_dir=tmp_path) == written
    named = CONFIG.model_copy(update={"init_adapter": "lora/other/run-7"})
    assert starting_adapter(named, artifacts_dir=tmp_path) == tmp_path / "lora" / "other" / "run-7"


@pytest.mark.parametrize("output_dir", ["../elsewhere", "/etc/adapters", "."])
def test_a_folder_outside_the_artifacts_is_refused(tmp_path: Path, output_dir: str) -> None:
    config = CONFIG.model_copy(update={"output_dir": output_dir})
    with pytest.raises(OutsideRootError, match=rf"^output_dir: got {output_dir}, allowed a folder under "):
        adapter_root(config, artifacts_dir=tmp_path)


def test_a_folder_inside_is_taken(tmp_path: Path) -> None:
    assert adapter_root(CONFIG, artifacts_dir=tmp_path) == tmp_path / "lora" / "test"


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "summary.json"
    write_json(path, {"recall_after": 0.5})
    write_json(path, {"recall_after": 0.9})
    assert json.loads(path.read_text()) == {"recall_after": 0.9}
    assert [entry.name for entry in path.parent.iterdir()] == ["summary.json"]


def test_the_active_link_can_point_elsewhere_or_be_taken_away(tmp_path: Path) -> None:
    folder = write_run_folder(tmp_path / "one", "run-1", config=CONFIG, manifest={}, write_files=save_weights)
    (tmp_path / "two").mkdir()
    assert active_adapter(tmp_path / "two") is None
    activate(folder, root=tmp_path / "two")
    assert active_adapter(tmp_path / "two") == active_adapter(tmp_path / "one") == folder
    deactivate(tmp_path / "two")
    deactivate(tmp_path / "two")
    assert active_adapter(tmp_path / "two") is None
    assert folder.is_dir()
