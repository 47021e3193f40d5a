"""Training configs in a folder of their own, and somebody who may do everything with jobs."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests.dualchannel_site.desk.jobs import people
from tests.training.conftest import tiny_model_path

__all__ = ["tiny_model_path"]

CONFIG = """\
model_name_or_path: some/model
output_dir: lora/desk
sft_batch_size: 4
preference_batch_size: 2
min_sft_pairs: 4
min_preference_pairs: 4
diversity_k: null
max_steps: 10
max_length: 64
mixed_precision: "no"
evaluation: {validation_share: 0.0}
"""


@pytest.fixture
def configs(settings: Settings, tmp_path: Path) -> Path:
    """The folder of the configs, which has `small.yaml`; the artifacts lie beside it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "small.yaml").write_text(CONFIG)
    settings.TRAINING_CONFIG_DIR = folder
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    return folder


@pytest.fixture
def operator(db: None) -> User:
    return people.operator()


@pytest.fixture
def desk(client: Client, operator: User) -> Client:
    """A browser in which the operator is logged in."""
    client.force_login(operator)
    return client
