"""The ways to search, of which a test can force one."""

from __future__ import annotations

import pytest

from maintenance.similarity import search


@pytest.fixture(params=["blocks", "cells"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test runs in blocks and in cells, whatever would be chosen for its rows."""
    chosen: str = request.param
    monkeypatch.setattr(search, "CELL_COST", 0 if chosen == "cells" else float("inf"))
    monkeypatch.setattr(search, "LARGEST_SHARE", float("inf"))
    return chosen
