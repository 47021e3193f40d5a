"""What tells the two channels apart where duplicates are merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from memory.embeddings import pair_text
from memory.models import PreferencePair, SftPair
from memory.pair_vectors import OWNERS
from memory.text import normalised


class PairTexts(NamedTuple):
    """The texts of a pair: what was asked, what was answered, the messages before, and the answer that lost, if any."""

    question: str
    answer: str
    before: Sequence[Mapping[str, str]]
    rejected: str = ""

    @property
    def told(self) -> str:
        """What the pair's embedding holds, and what must agree in facts."""
        return pair_text(self.question, self.answer)

    @property
    def hash_before(self) -> int:
        """A hash of the messages before, 64 bits, the same for one process."""
        return hash(tuple((message["role"], normalised(message["content"])) for message in self.before))


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel's columns.

    Attributes:
        name: as counts and marks name it.
        words: as people call its pairs.
        model: its pairs.
        reward: the column of the reward, 0 to 1.
        loss: the column of the loss; empty where pairs have none.
        message: the column of the message that holds the answer.
        text_columns: the columns of the texts.
        texts: puts the values of `text_columns` together.
        proposal: the columns of a proposal that name the newer pair and the older one.

    """

    name: str
    words: str
    model: type[SftPair] | type[PreferencePair]
    reward: str
    loss: str = ""
    message: str
    text_columns: Sequence[str]
    texts: Callable[[Sequence[Any]], PairTexts]
    proposal: tuple[str, str]

    @property
    def owner(self) -> str:
        """The column of an embedding that names its pair."""
        return OWNERS[self.model]

    @property
    def scores(self) -> tuple[str, ...]:
        """The columns of the scores: reward, confidence, and the loss where there is one."""
        return (self.reward, "confidence", *filter(None, [self.loss]))


def _sft_texts(values: Sequence[Any]) -> PairTexts:
    instruction, response, context = values
    return PairTexts(instruction, response, context)


def _preference_texts(values: Sequence[Any]) -> PairTexts:
    prompt, chosen, rejected = values
    messages: Sequence[Mapping[str, str]] = prompt
    return PairTexts(messages[-1]["content"], chosen, messages[:-1], rejected)


SFT = Channel(
    name="sft",
    words="memory pairs",
    model=SftPair,
    reward="reward_intensity",
    loss="loss",
    message="assistant_message_id",
    text_columns=("instruction", "response", "context"),
    texts=_sft_texts,
    proposal=("sft_pair_id", "other_sft_pair_id"),
)
PREFERENCE = Channel(
    name="preference",
    words="preference pairs",
    model=PreferencePair,
    reward="margin",
    message="chosen_message_id",
    text_columns=("prompt", "chosen", "rejected"),
    texts=_preference_texts,
    proposal=("preference_pair_id", "other_preference_pair_id"),
)
