"""Ready-made pairs: a prompt with two answers, or with one answer that was judged."""

from collections.abc import Sequence
from datetime import datetime

from memory.importers.records import BadRecordError, ParsedPreference
from memory.importers.turns import Turn
from memory.text import trimmed


def preference(
    prompt: Sequence[Turn],
    *,
    chosen: Sequence[Turn],
    rejected: Sequence[Turn],
    where: str,
    created_at: datetime | None = None,
) -> ParsedPreference:
    """Return the pair of two answers to one prompt, all without reasoning.

    Raises:
        BadRecordError: if the prompt does not end with the user, or a side is not exactly one answer.

    """
    asked = [turn for turn in prompt if trimmed(turn.text)]
    if not asked or asked[-1].role not in ("user", "tool"):
        raise BadRecordError(f"prompt: got {_roles(prompt)}, allowed messages that end with the user's")
    return ParsedPreference(
        tuple({"role": turn.role, "content": turn.text} for turn in asked),
        _answer(chosen, "chosen"),
        _answer(rejected, "rejected"),
        created_at=created_at,
        where=where,
    )


def judged(turns: Sequence[Turn], *, good: bool) -> list[Turn]:
    """Return the turns with a thumb up or down on the last one, which must be the assistant's.

    Raises:
        BadRecordError: if the last turn is not the assistant's.

    """
    if not turns or turns[-1].role != "assistant":
        raise BadRecordError(f"label: got {_roles(turns)}, allowed messages that end with the assistant's")
    turns[-1].rating = 1 if good else -1
    return list(turns)


def _answer(turns: Sequence[Turn], field: str) -> str:
    answers = [turn.text for turn in turns if turn.role == "assistant" and trimmed(turn.text)]
    if len(answers) != 1:
        raise BadRecordError(f"{field}: got {len(answers)} answers of the assistant, allowed exactly one")
    return answers[0]


def _roles(turns: Sequence[Turn]) -> str:
    return ", ".join(turn.role for turn in turns) or "no messages"
