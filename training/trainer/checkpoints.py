"""Where a run can go on."""

import json
import re
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME

# What the trainer keeps beside Transformers' own files.
STATE = "dual_state.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in `folder`, or None.

    Transformers writes the trainer's state last, so that a checkpoint without it is one that a kill cut short.
    """
    found = []
    for path in folder.glob("checkpoint-*"):
        match = _FOLDER.fullmatch(path.name)
        if match and _is_whole(path):
            found.append((int(match[1]), path))
    return max(found)[1] if found else None


def checkpoint_step(checkpoint: Path | None) -> int:
    """Return the number of optimiser steps that a checkpoint has behind it; 0 where there is none."""
    return 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
