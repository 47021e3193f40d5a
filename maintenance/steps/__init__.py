"""The steps of a night, in their order, each a module with one function of its name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from maintenance.night import Step

STEPS = (
    "extract",
    "embed",
    "merge",
    "retire",
    "reemit",
    "recluster",
    "replay",
    "train",
    "evaluate",
    "housekeeping",
)


class UnknownStepError(ValueError):
    """A step that no night has; says which there are."""


def load_step(name: str) -> Step:
    """Return the function of a step, imported when its turn comes: a broken one is that step's failure alone."""
    step: Step = getattr(import_module(f"maintenance.steps.{name}"), name)
    return step


def known_steps(option: str, names: Sequence[str]) -> list[str]:
    """Return `names`, as `option` gave them, in the order of a night.

    Raises:
        UnknownStepError: one of them is no step.

    """
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise UnknownStepError(f"{option}: got {', '.join(unknown)}, allowed are {', '.join(STEPS)}")
    return [name for name in STEPS if name in names]
