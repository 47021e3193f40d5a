"""The steps of a night, in their order, each a module with one function of its name."""

from __future__ import annotations

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


def load_step(name: str) -> Step:
    """Return the function of a step, imported when its turn comes: a broken one is that step's failure alone."""
    step: Step = getattr(import_module(f"maintenance.steps.{name}"), name)
    return step
