"""From a YAML file to a typed config, with every problem reported at once."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from training.config.schema import TrainingConfig


class ConfigError(ValueError):
    """A config cannot be used; `problems` holds one line for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}{lines}")


def load_config(path: Path) -> TrainingConfig:
    """Read and check the config at `path`.

    Raises:
        ConfigError: unreadable file, bad YAML, unknown keys, wrong types or ranges; all of them together.

    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(path, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(content, dict):
        raise ConfigError(path, [f"got {type(content).__name__} at the top, allowed a mapping of keys to values"])
    return parse_config(content, path=path)


def parse_config(content: dict[str, Any], *, path: Path) -> TrainingConfig:
    """Check a mapping that was read from `path`; the weights are checked even where other keys are wrong."""
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        problems = [line for entry in error.errors() for line in _lines(dict(entry))]
        raise ConfigError(path, problems + _weight_problems(content, error)) from error


def _weight_problems(content: dict[str, Any], error: ValidationError) -> list[str]:
    # Pydantic runs the check of the whole only where each key is sound; the weights deserve theirs all the same.
    if any(not entry["loc"] or entry["loc"][0] in {"sft_weight", "preference_weight"} for entry in error.errors()):
        return []
    weights = {key: content[key] for key in ("sft_weight", "preference_weight") if key in content}
    try:
        TrainingConfig.model_validate({"model_name_or_path": "any", **weights})
    except ValidationError as weight_error:
        return [line for entry in weight_error.errors() for line in _lines(dict(entry))]
    return []


def _lines(entry: dict[str, Any]) -> list[str]:
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "value_error":
        return str(entry["ctx"]["error"]).splitlines()
    if entry["type"] == "extra_forbidden":
        return [f"{where}: unknown key"]
    if entry["type"] == "missing":
        return [f"{where}: is missing and has no default"]
    return [f"{where}: got {entry['input']!r}, {entry['msg'][0].lower()}{entry['msg'][1:]}"]
