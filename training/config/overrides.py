"""Values of single keys that a command line puts over those of a file."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from training.config.yaml_core import read_yaml


def overridden(content: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return `content` with the `overrides` put in, and one line for each of those that is none.

    An override is `key=value`: the key dotted (`lora.r`), the value as YAML would have it behind the key.
    """
    changed, problems = deepcopy(content), []
    for override in overrides:
        try:
            _put(changed, override)
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
    return changed, problems


def _put(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *sections, name = key.strip().split(".")
    if not (separator and name and all(sections)):
        raise ValueError("allowed key=value")
    value = read_yaml(text)
    for section in sections:
        # A section that is absent, or null, begins with this key.
        content[section] = content.get(section) or {}
        content = content[section]
        if not isinstance(content, dict):
            raise ValueError(f"{section} holds no keys")
    content[name] = value
