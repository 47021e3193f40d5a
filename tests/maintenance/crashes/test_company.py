"""A night keeps what people edit, what training uses and what extraction makes while it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.maintenance.crashes.company import LEAST
from tests.maintenance.crashes.test_kills import seed

# Far less where the processor is free; what counts is that nobody waits for a whole step.
LONGEST_SECONDS = 20


@pytest.mark.slow
@pytest.mark.parametrize("on_server", [False, True], ids=["here", "postgresql"])
def test_a_night_in_company_loses_nothing_of_what_the_others_do(
    on_server: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    if on_server:
        environment["DATABASE_URL"] = request.getfixturevalue("server")
    done = subprocess.run(
        [sys.executable, "-m", "tests.maintenance.crashes.company", str(tmp_path / "company"), seed()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert min(told["counts"].values()) >= LEAST
    assert max(told["longest_seconds"].values()) < LONGEST_SECONDS
