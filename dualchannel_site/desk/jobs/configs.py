"""Training configs that a job may name: files of one folder, with single values over theirs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from training.config import ConfigError, TrainingConfig, load_config

# Keys that lead to files, folders, models, other machines: these are the file's to say, not the browser's.
FIXED_KEYS = frozenset(
    {
        "model_name_or_path",
        "output_dir",
        "init_adapter",
        "sft_jsonl",
        "preference_jsonl",
        "retention",
        "retention.path",
        "evaluation",
        "evaluation.probes_path",
        "evaluation.general_text_path",
        "report_to",
    }
)
MAX_OVERRIDES = 20
MAX_OVERRIDE_LENGTH = 200


class ConfigChangedError(ValueError):
    """A config is no longer the one that was planned."""


def config_names() -> list[str]:
    """Return the names of the configs that there are, in alphabetical order."""
    return sorted(path.name for path in settings.TRAINING_CONFIG_DIR.glob("*.yaml") if path.is_file())


def config_path(name: str) -> Path:
    """Return the path of the config `name`.

    Raises:
        ConfigError: there is none of that name in the folder, whatever there is elsewhere.

    """
    names = config_names()
    if name not in names:
        raise ConfigError(Path(name), [f"got no config of {settings.TRAINING_CONFIG_DIR}, allowed {', '.join(names)}"])
    path: Path = settings.TRAINING_CONFIG_DIR / name
    return path


def chosen_config(name: str, overrides: Sequence[str]) -> TrainingConfig:
    """Return the config `name` with the `overrides` (`key=value`) over its own values.

    Raises:
        ConfigError: no such config, a key that only the file may set, or values that no run can use.

    """
    path = config_path(name)
    if problems := [problem for problem in map(_problem, overrides) if problem]:
        raise ConfigError(path, problems)
    if len(overrides) > MAX_OVERRIDES:
        raise ConfigError(path, [f"got {len(overrides)} values, allowed at most {MAX_OVERRIDES}"])
    return load_config(path, overrides)


def config_checksum(config: TrainingConfig) -> str:
    """Return the SHA-256 of the resolved config, by which a training is known to be that of its plan."""
    content = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def planned_config(name: str, overrides: Sequence[str], *, checksum: str | None) -> TrainingConfig:
    """Return `chosen_config`, which is still the one that was planned; without a checksum any will do.

    Raises:
        ConfigChangedError: it is another one.
        ConfigError: see `chosen_config`.

    """
    config = chosen_config(name, overrides)
    if checksum not in (None, config_checksum(config)):
        raise ConfigChangedError(f"{name}: the config changed since the plan; plan again")
    return config


def _problem(override: str) -> str:
    key = override.partition("=")[0].strip()
    if len(override) > MAX_OVERRIDE_LENGTH:
        return f"{key[:40]}: got {len(override)} characters, allowed at most {MAX_OVERRIDE_LENGTH}"
    if key in FIXED_KEYS:
        return f"{key}: allowed in the file alone"
    return ""
