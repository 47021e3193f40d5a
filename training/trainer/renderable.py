"""What the base model's chat template renders; what it refuses is left out, and named."""

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from training.datasets import Chat, PreferenceRecord, SftRecord
from training.evaluation.evaluation_set import EvaluationSet
from training.trainer.chat_template import refusal

logger = logging.getLogger(__name__)

# How many of what is left out a line names.
NAMED = 5
_LONGEST_NAME = 40

_Record = TypeVar("_Record", bound=SftRecord | PreferenceRecord)


@dataclass(frozen=True, slots=True)
class Refused:
    """Chats of one kind that the template refuses: what they are, their names, what it says of the first."""

    kind: str
    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.names) - NAMED} more" if len(self.names) > NAMED else ""
        return (
            f"{len(self.names)} {self.kind} that the base model's chat template refuses ({self.reason}): "
            f"{', '.join(self.names[:NAMED])}{more}"
        )


def renderable_records(
    records: Sequence[_Record], tokenizer: PreTrainedTokenizerBase, *, kind: str
) -> tuple[tuple[_Record, ...], Refused | None]:
    """Return the records that the template renders, and the others, named by their keys or first words."""
    refused = {}
    for position, record in enumerate(records):
        answers = [record.completion] if isinstance(record, SftRecord) else [record.chosen, record.rejected]
        if (reason := refusal(tokenizer, record.prompt, answers)) is not None:
            refused[position] = (_quoted(record.prompt) if record.id is None else str(record.id), reason)
    return tuple(each for position, each in enumerate(records) if position not in refused), _refused(kind, refused)


def renderable_chats(
    chats: Sequence[tuple[Chat, Chat]], tokenizer: PreTrainedTokenizerBase, *, kind: str
) -> tuple[tuple[Chat, Chat], ...]:
    """Return those chats of prompt and completion that the template renders; the log names the others."""
    refused = {}
    for position, (prompt, completion) in enumerate(chats):
        if (reason := refusal(tokenizer, prompt, [completion])) is not None:
            refused[position] = (_quoted(prompt), reason)
    _warn(_refused(kind, refused))
    return tuple(chat for position, chat in enumerate(chats) if position not in refused)


def renderable_evaluation(given: EvaluationSet, tokenizer: PreTrainedTokenizerBase) -> EvaluationSet:
    """Return the set without the pairs and texts that the template refuses; the log names them."""
    sft, refused_sft = renderable_records(given.sft, tokenizer, kind="held-out memory pairs")
    preference, refused_preference = renderable_records(given.preference, tokenizer, kind="held-out preference pairs")
    for refused in (refused_sft, refused_preference):
        _warn(refused)
    general_text = renderable_chats(given.general_text, tokenizer, kind="general texts")
    return replace(given, sft=sft, preference=preference, general_text=general_text)


def _refused(kind: str, refused: dict[int, tuple[str, str]]) -> Refused | None:
    if not refused:
        return None
    return Refused(kind, tuple(name for name, _ in refused.values()), next(iter(refused.values()))[1])


def _warn(refused: Refused | None) -> None:
    if refused is not None:
        logger.warning("left out: %s", refused)


def _quoted(prompt: Chat) -> str:
    return repr(textwrap.shorten(prompt[-1]["content"], _LONGEST_NAME, placeholder=" …"))
