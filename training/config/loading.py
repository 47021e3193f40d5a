"""From a YAML file to a typed config, with every problem reported at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from training.config.overrides import overridden
from training.config.schema import TrainingConfig
from training.config.sections import Section, section_of
from training.config.yaml_core import read_yaml

SectionT = TypeVar("SectionT", bound=Section)

# Keys that are judged together: where one of them is wrong in itself, nothing is said of the others.
_JUDGED_TOGETHER = ({"sft_weight", "preference_weight"}, {"loss_type", "label_smoothing"})


class ConfigError(ValueError):
    """A config cannot be used; `problems` holds one line for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}{lines}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read and check the training config at `path`, with the `overrides` over its own values.

    Raises:
        ConfigError: see `load_section`.

    """
    return load_section(TrainingConfig, path, overrides)


def load_section(model: type[SectionT], path: Path, overrides: Sequence[str] = ()) -> SectionT:
    """Read and check the config of the type `model` at `path`, with the values of `overrides` (`key=value`, dotted).

    Raises:
        ConfigError: unreadable file, bad YAML, unknown keys, wrong types or ranges; all of them together.

    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"cannot be read: {error}"]) from error
    except ValueError as error:
        raise ConfigError(path, [str(error)]) from error
    if not isinstance(content, dict):
        raise ConfigError(path, [f"got {type(content).__name__} at the top, allowed a mapping of keys to values"])
    content, problems = overridden(content, overrides)
    return _checked(model, content, path=path, problems=problems)


def _checked(model: type[SectionT], content: Mapping[str, Any], *, path: Path, problems: list[str]) -> SectionT:
    try:
        config = model.model_validate(content)
    except ValidationError as error:
        lines = [*_lines(model, error), *_disagreements(model, content, error)]
        raise ConfigError(path, [*problems, *lines]) from error
    if problems:
        raise ConfigError(path, problems)
    return config


def _disagreements(model: type[Section], content: Mapping[str, Any], error: ValidationError) -> list[str]:
    """Return what is wrong between keys: Pydantic looks only where each key is sound, these deserve it all the same."""
    wrong = {entry["loc"][0] for entry in error.errors() if entry["loc"]}
    if not wrong:
        return []
    left_out = wrong.union(*(keys for keys in _JUDGED_TOGETHER if keys & wrong))
    sound = {key: value for key, value in content.items() if key not in left_out}
    required = {name: "any" for name, field in model.model_fields.items() if field.is_required()}
    try:
        model.model_validate({**required, **sound})
    except ValidationError as disagreement:
        return _lines(model, disagreement)
    return []


def _lines(model: type[Section], error: ValidationError) -> list[str]:
    """Return one line for each problem; what a key may be in several ways is told in one."""
    found: dict[str, list[str]] = {}
    for entry in error.errors():
        start, end = _described(_key(model, entry["loc"]), dict(entry))
        found.setdefault(start, []).append(end)
    return [line for start, ends in found.items() for line in f"{start}{' or '.join(ends)}".splitlines()]


def _key(model: type[Section], location: Sequence[int | str]) -> str:
    """Return the dotted key of a place, without the names that Pydantic gives to the members of a union."""
    section: type[Section] | None = model
    parts = []
    for part in location:
        if isinstance(part, int):
            parts.append(str(part))
        elif section is not None:
            parts.append(part)
            section = section_of(section.model_fields[part].annotation) if part in section.model_fields else None
    return ".".join(parts)


def _described(key: str, entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two halves of the line on a problem: the key with what it got, and what is allowed."""
    place = f"{key}: " if key else ""
    if entry["type"] == "value_error":
        return place, str(entry["ctx"]["error"])
    if entry["type"] == "extra_forbidden":
        return place, "unknown key"
    if entry["type"] == "missing":
        return place, "is missing and has no default"
    return f"{place}got {entry['input']!r}, ", f"{entry['msg'][0].lower()}{entry['msg'][1:]}"
