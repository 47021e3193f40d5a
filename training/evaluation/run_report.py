"""The page that a run leaves for people: what it taught, at what price."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.config.schema import TrainingConfig
from training.datasets import Record
from training.evaluation.answers import changed_answers, counts
from training.evaluation.markdown import escaped, table
from training.evaluation.probes import Answer
from training.evaluation.sticking import KNOWN_LOSS, LEAST_FALL_RATIO, Change, did_not_stick
from training.sampling.plan import Channel
from training.sampling.schedule import CHANNEL_NAMES

# Answers in the report; evaluation.json has them all.
SHOWN_ANSWERS = 10
# Pairs of either channel in the report that did not stick.
SHOWN_PAIRS = 5
_LONGEST_TEXT = 160
_LONGEST_NAME = 60

# What is measured before and after: its name in the evaluation, its words, its form.
FIGURES = (
    ("recall", "recall of what the assistant has said", "{:.0%}"),
    ("recall_person_only", "recall of what only the person has said", "{:.0%}"),
    ("preference_accuracy", "preference accuracy, held-out pairs", "{:.0%}"),
    ("preference_margin", "preference margin, nats per token", "{:+.3f}"),
    ("sft_loss", "memory loss, held-out pairs, mean token", "{:.3f}"),
    ("sft_loss_median", "memory loss, held-out pairs, median token", "{:.3f}"),
    ("general_loss", "loss on general text, mean token", "{:.3f}"),
    ("general_loss_median", "loss on general text, median token", "{:.3f}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """The course of one channel: losses in nats, None where it had no batch; `pool` counts the pairs it could draw."""

    loss_first: float | None
    loss_last: float | None
    batches: int
    pairs_used: int
    pool: int
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What the page tells.

    `folder` is where the adapter will stand; `steps` were taken of `planned_steps`; `evaluation` is the comparison
    of before and after; `records` are the pools that `changes` point into; `own_rows` says why answers to one prompt
    did not share its row, None where they did; `stopped` has the channels that no longer improved, each with the step
    at which that was found.
    """

    run: int
    config: TrainingConfig
    folder: Path
    steps: int
    planned_steps: int
    stopped_early: str | None
    channels: Mapping[Channel, ChannelReport]
    evaluation: Mapping[str, float | None]
    answers_before: Sequence[Answer]
    answers_after: Sequence[Answer]
    changes: Sequence[Change]
    records: Mapping[Channel, Sequence[Record]]
    device: str
    precision: str
    tokens_per_second: float | None
    seconds: float
    memory_peak_bytes: int | None = None
    own_rows: str | None = None
    stopped: Mapping[Channel, int] = field(default_factory=dict)


def render_report(report: RunReport) -> str:
    """Return the page in Markdown."""
    sections = [
        f"# Run {report.run}",
        _outcome(report),
        f"## What was learned\n\n{_learned(report)}",
        f"## What it cost\n\n{_cost(report)}",
        f"## Before and after\n\nMeasured on what training never saw.\n\n{_before_and_after(report)}",
        f"## The answers that changed most\n\n{_answers(report)}",
        f"## Pairs that did not stick\n\n{_unstuck(report)}",
        f"## Use the adapter\n\n{_usage(report)}",
    ]
    return "\n\n".join(sections) + "\n"


def _outcome(report: RunReport) -> str:
    sentences = [
        f"{report.steps} of {report.planned_steps} steps on {_name(report.config.model_name_or_path)}, from "
        f"{_start(report.config.init_adapter)}, on {report.device} in {report.precision}."
    ]
    if report.own_rows is not None:
        sentences.append(f"Answers to one prompt did not share its row, which costs time: {_text(report.own_rows)}.")
    if report.stopped_early is not None:
        sentences.append(f"The run ended early: {report.stopped_early}.")
    else:
        sentences += [
            f"The {CHANNEL_NAMES[channel]} channel took part up to step {step}: its held-out measurements no longer "
            "improved."
            for channel, step in report.stopped.items()
            if step < report.steps
        ]
    for name, sentence in (
        ("recall", "Recall went from {} to {}."),
        ("preference_accuracy", "Preference accuracy went from {} to {}."),
    ):
        before, after = (report.evaluation[f"{name}_{when}"] for when in ("before", "after"))
        if before is not None and after is not None:
            sentences.append(sentence.format(f"{before:.0%}", f"{after:.0%}"))
    missing = [label for name, label, _ in FIGURES if report.evaluation[f"{name}_after"] is None]
    if missing:
        sentences.append(f"Not measured, for want of something to measure on: {'; '.join(missing)}.")
    return " ".join(sentences)


def _start(init_adapter: str) -> str:
    if init_adapter == "base":
        return "a fresh adapter"
    return "the active adapter" if init_adapter == "continue" else f"the adapter {_name(init_adapter)}"


def _learned(report: RunReport) -> str:
    head = ("channel", "loss, first batch", "loss, last batch", "batches", "pairs used", "pairs to draw from", "epochs")
    return table(
        head,
        (
            (
                CHANNEL_NAMES[channel],
                _number(course.loss_first, "{:.3f}"),
                _number(course.loss_last, "{:.3f}"),
                str(course.batches),
                str(course.pairs_used),
                str(course.pool),
                str(course.epochs),
            )
            for channel, course in report.channels.items()
        ),
    )


def _cost(report: RunReport) -> str:
    rows = [
        ("drift: median token loss on general text", _number(report.evaluation["drift_ratio"], "{:+.1%}")),
        ("drift: mean token loss on general text", _number(report.evaluation["drift_mean_ratio"], "{:+.1%}")),
        ("time", f"{report.seconds:.0f} s"),
    ]
    if report.tokens_per_second is not None:
        rows.append(("speed", f"{report.tokens_per_second:.0f} tokens/s"))
    if report.memory_peak_bytes is not None:
        rows.append(("peak memory", f"{report.memory_peak_bytes / 2**30:.1f} GiB"))
    return table(("", ""), rows)


def _before_and_after(report: RunReport) -> str:
    rows = []
    for name, label, form in FIGURES:
        before, after = (_number(report.evaluation[f"{name}_{when}"], form) for when in ("before", "after"))
        rows.append((label, before, after))
    return table(("", "before", "after"), rows)


def _answers(report: RunReport) -> str:
    changed = changed_answers(report.answers_before, report.answers_after)
    if not changed:
        return "No answer to a recall probe changed." if report.answers_after else "There were no recall probes."
    rows = (
        (_text(change.question), _text(change.before.text), _text(change.after.text), change.verdict)
        for change in changed[:SHOWN_ANSWERS]
    )
    return f"{counts(changed)}\n\n{table(('question', 'before', 'after', 'verdict'), rows)}"


def _unstuck(report: RunReport) -> str:
    left = did_not_stick(report.changes)
    if not left:
        return "Every pair that was used left its mark."
    used = {channel: sum(change.channel == channel for change in report.changes) for channel in CHANNEL_NAMES}
    found = {channel: [change for change in left if change.channel == channel] for channel in CHANNEL_NAMES}
    summary = ", ".join(
        f"{len(found[channel])} of {used[channel]} {name} pairs" for channel, name in CHANNEL_NAMES.items()
    )
    rows = [_unstuck_row(report, change) for channel in CHANNEL_NAMES for change in found[channel][:SHOWN_PAIRS]]
    return (
        f"{summary}. A memory pair did not stick where its token loss fell by less than {LEAST_FALL_RATIO:.0%} since "
        f"its first use, and is over {KNOWN_LOSS} nats still; a preference pair where the model favours the chosen "
        "answer no more than its reference does (implicit reward margin).\n\n"
        f"{table(('pair', 'number', 'begins with', 'before', 'after'), rows)}"
    )


def _unstuck_row(report: RunReport, change: Change) -> tuple[str, ...]:
    record = report.records[change.channel][change.index]
    number = "from a file" if record.id is None else str(record.id)
    said = escaped(record.prompt[-1]["content"], longest=_LONGEST_NAME)
    return (CHANNEL_NAMES[change.channel], number, said, f"{change.before:.3f}", f"{change.after:.3f}")


def _usage(report: RunReport) -> str:
    return (
        "```python\n"
        "from peft import AutoPeftModelForCausalLM\n"
        "from transformers import AutoTokenizer\n\n"
        f"folder = {json.dumps(report.folder.as_posix(), ensure_ascii=False)}\n"
        "model = AutoPeftModelForCausalLM.from_pretrained(folder)\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "```"
    )


def _text(text: str) -> str:
    return escaped(text, longest=_LONGEST_TEXT)


def _name(name: str) -> str:
    return escaped(name, longest=_LONGEST_TEXT)


def _number(value: float | None, form: str) -> str:
    return "not measured" if value is None else form.format(value)
