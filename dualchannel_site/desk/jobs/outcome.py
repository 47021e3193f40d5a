"""What the code that does a job answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result as plain JSON, and why the job counts as failed; empty where it does not."""

    result: Mapping[str, Any]
    failure: str = ""
