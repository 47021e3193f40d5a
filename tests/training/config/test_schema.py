"""The keys' values are those of the libraries they go to."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from training.config.schema import LossType


def test_every_loss_of_trl_can_be_named() -> None:
    # Read, not imported: TRL takes seconds to load.
    package = find_spec("trl")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "trainer" / "dpo_trainer.py").read_text(encoding="utf-8")
    branches = set(re.findall(r'loss_type == "(\w+)"', source))
    assert "sigmoid" in branches
    assert set(get_args(LossType)) == branches
