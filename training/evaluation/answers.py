"""Which answers to recall probes a run has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.probes import Answer

Verdict = Literal["now right", "now wrong", "still right", "still wrong"]


def verdict(*, was_right: bool, is_right: bool) -> Verdict:
    """Return what became of an answer."""
    if is_right:
        return "still right" if was_right else "now right"
    return "now wrong" if was_right else "still wrong"


@dataclass(frozen=True, slots=True)
class ChangedAnswer:
    """One question with the model's answer before and after."""

    before: Answer
    after: Answer

    @property
    def question(self) -> str:
        """The question that was asked."""
        return self.after.probe.question

    @property
    def verdict(self) -> Verdict:
        """What the change did."""
        return verdict(was_right=self.before.is_right, is_right=self.after.is_right)


def changed_answers(before: Sequence[Answer], after: Sequence[Answer]) -> list[ChangedAnswer]:
    """Return the answers whose words differ, given both times in the same order; the most telling first.

    What became right and what became wrong take turns at the front, so that many of one do not hide the other.
    Within a verdict the first question of each fact comes before the second of any.
    """
    pairs = zip(before, after, strict=True)
    changed = [ChangedAnswer(first, last) for first, last in pairs if first.text != last.text]
    seen: dict[tuple[str, str], int] = {}
    ranked = []
    for change in changed:
        key = (change.after.probe.fact, change.verdict)
        seen[key] = seen.get(key, 0) + 1
        ranked.append((seen[key], change))
    by_fact = [change for _, change in sorted(ranked, key=lambda entry: entry[0])]
    won, lost = ([change for change in by_fact if change.verdict == verdict] for verdict in ("now right", "now wrong"))
    turns = min(len(won), len(lost))
    alternating = [change for pair in zip(won, lost, strict=False) for change in pair]
    rest = [change for change in by_fact if change.verdict.startswith("still")]
    return [*alternating, *won[turns:], *lost[turns:], *rest]


def counts(changed: Sequence[ChangedAnswer]) -> str:
    """Return a sentence that says how many answers changed, in which way."""
    found = {verdict: sum(change.verdict == verdict for change in changed) for verdict in ("now right", "now wrong")}
    others = len(changed) - sum(found.values())
    return (
        f"{found['now right']} became right, {found['now wrong']} became wrong, {others} changed their words with the "
        "same verdict."
    )
