"""What a model is measured on, gathered from files with the held-out pairs."""

import json
from dataclasses import dataclass
from pathlib import Path

from training.config.schema import TrainingConfig
from training.datasets import Chat, PreferenceRecord, SftRecord, measured
from training.evaluation.probes import Probe, load_probes


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What training never sees: probes, held-out pairs of both channels, general text."""

    probes: tuple[Probe, ...] = ()
    sft: tuple[SftRecord, ...] = ()
    preference: tuple[PreferenceRecord, ...] = ()
    general_text: tuple[tuple[Chat, Chat], ...] = ()
    max_new_tokens: int = 32


def load_evaluation_set(
    config: TrainingConfig,
    *,
    base_dir: Path,
    sft: tuple[SftRecord, ...],
    preference: tuple[PreferenceRecord, ...],
) -> EvaluationSet:
    """Return what the config measures of the held-out pairs, with its probes and its general text.

    `sft` and `preference` are all held-out pairs; the config's paths start at `base_dir`.

    Raises:
        ValueError: a file that the config names is missing or malformed.

    """
    settings = config.evaluation
    return EvaluationSet(
        probes=load_probes(base_dir / settings.probes_path) if settings.probes_path else (),
        sft=measured(sft, most=settings.max_held_out),
        preference=measured(preference, most=settings.max_held_out),
        general_text=load_chats(base_dir / settings.general_text_path, "drift") if settings.general_text_path else (),
        max_new_tokens=settings.max_new_tokens,
    )


def load_chats(path: Path, name: str) -> tuple[tuple[Chat, Chat], ...]:
    """Read the list `name` of a JSON file: `{"prompt": [message, …], "completion": [message, …]}` each.

    Raises:
        ValueError: the file is missing or not of that form.

    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple((chat["prompt"], chat["completion"]) for chat in content[name])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no list {name!r} of prompt and completion can be read from it: {error}") from error
