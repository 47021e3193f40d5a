"""Recall probes: questions about what was said, with the words that a right answer must hold."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The kinds that the assistant itself has said, which are what this training can teach.
LEARNABLE_KINDS = frozenset({"assistant_said", "corrected"})


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. Each entry of `expected` is a group of accepted spellings, of which one must occur."""

    fact: str
    kind: str
    question: str
    expected: tuple[tuple[str, ...], ...]
    outdated: tuple[str, ...] = ()

    @property
    def is_learnable(self) -> bool:
        """Whether the assistant ever said the answer, so that completion-only loss can teach it."""
        return self.kind in LEARNABLE_KINDS

    def accepts(self, answer: str) -> bool:
        """Return whether the answer holds every expected word and no outdated one, on word boundaries."""
        if any(_occurs(word, answer) for word in self.outdated):
            return False
        return all(any(_occurs(word, answer) for word in spellings) for spellings in self.expected)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to a probe, with the verdict."""

    probe: Probe
    text: str

    @property
    def is_right(self) -> bool:
        """Whether the answer is accepted."""
        return self.probe.accepts(self.text)


def recall(answers: Sequence[Answer]) -> float | None:
    """Return the share of right answers in [0, 1], or None where there are none."""
    return sum(answer.is_right for answer in answers) / len(answers) if answers else None


def load_probes(path: Path) -> tuple[Probe, ...]:
    """Read probes from JSON: `{"facts": [{id, kind, expected, outdated, questions}, …]}`.

    Raises:
        ValueError: the file is missing or not of that form; the message names the fact.

    """
    try:
        facts = list(json.loads(path.read_text(encoding="utf-8"))["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no list 'facts' can be read from it: {error}") from error
    probes = []
    for number, fact in enumerate(facts):
        try:
            expected = tuple((group,) if isinstance(group, str) else tuple(group) for group in fact["expected"])
            probes += [
                Probe(fact["id"], fact["kind"], question, expected, tuple(fact.get("outdated", ())))
                for question in fact["questions"]
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: fact {number} lacks or misuses {error}") from error
    return tuple(probes)


def _occurs(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
