"""Before and after: one model measured twice on the same things."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.datasets import Chat
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.measures import (
    PreferenceMargins,
    TokenLosses,
    completion_losses,
    greedy_answers,
    preference_margins,
)
from training.evaluation.probes import Answer, recall
from training.trainer.tokenization import Tokenization


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model on an evaluation set; None where the set has nothing of the kind."""

    answers: tuple[Answer, ...]
    sft_losses: TokenLosses | None
    preference_margins: PreferenceMargins | None
    general_losses: TokenLosses | None


def measure(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    given: EvaluationSet,
    *,
    max_length: int,
    when: str,
) -> Measurement:
    """Measure the model as it is now, without a change to it; `when` names the moment on the progress bars."""
    tokenization = Tokenization(tokenizer, max_length=max_length)
    questions = [probe.question for probe in given.probes]
    texts = greedy_answers(model, tokenizer, questions, max_new_tokens=given.max_new_tokens, progress=f"recall {when}")
    held_out = [(record.prompt, record.completion) for record in given.sft]
    margins = (
        preference_margins(model, tokenization, given.preference, progress=f"held-out preference {when}")
        if given.preference
        else None
    )
    return Measurement(
        answers=tuple(Answer(probe, text) for probe, text in zip(given.probes, texts, strict=True)),
        sft_losses=_losses(model, tokenization, held_out, f"held-out memory {when}"),
        preference_margins=margins,
        general_losses=_losses(model, tokenization, given.general_text, f"general text {when}"),
    )


def figures(measurement: Measurement) -> dict[str, float | None]:
    """Return the measurement as plain numbers; what was not measured, or came out as no number, is None.

    Recall counts the facts that the assistant has said, in [0, 1]; those that only the person said stand apart.
    Losses are those of a token, margins those of a pair, both in nats.
    """
    margins = measurement.preference_margins
    found = {
        "recall": _recall(measurement, learnable=True),
        "recall_person_only": _recall(measurement, learnable=False),
        "preference_accuracy": None if margins is None else margins.accuracy,
        "preference_margin": None if margins is None else margins.mean,
        "sft_loss": _mean(measurement.sft_losses),
        "sft_loss_median": _median(measurement.sft_losses),
        "general_loss": _mean(measurement.general_losses),
        "general_loss_median": _median(measurement.general_losses),
    }
    return {name: value if value is not None and math.isfinite(value) else None for name, value in found.items()}


def drift(before: Measurement, after: Measurement) -> dict[str, float | None]:
    """Return the relative change of the token loss on general text: 0 is none, 0.1 is 10 % worse.

    `drift_ratio` is that of the median, which tracks judged quality where the mean does not (arXiv 2605.24657);
    `drift_mean_ratio` is that of the mean.
    """
    first, last = figures(before), figures(after)
    return {
        "drift_ratio": _change(first["general_loss_median"], last["general_loss_median"]),
        "drift_mean_ratio": _change(first["general_loss"], last["general_loss"]),
    }


def comparison(before: Measurement, after: Measurement) -> dict[str, float | None]:
    """Return every figure as `…_before` and `…_after`, with the drift; None where there is none."""
    first, last = figures(before), figures(after)
    both = [((f"{name}_before", first[name]), (f"{name}_after", last[name])) for name in first]
    return {**dict(entry for pair in both for entry in pair), **drift(before, after)}


def _losses(
    model: PreTrainedModel | PeftModel, tokenization: Tokenization, chats: Sequence[tuple[Chat, Chat]], progress: str
) -> TokenLosses | None:
    return completion_losses(model, tokenization, chats, progress=progress) if chats else None


def _recall(measurement: Measurement, *, learnable: bool) -> float | None:
    return recall([answer for answer in measurement.answers if answer.probe.is_learnable is learnable])


def _mean(losses: TokenLosses | None) -> float | None:
    return None if losses is None else losses.mean


def _median(losses: TokenLosses | None) -> float | None:
    return None if losses is None else losses.median


def _change(before: float | None, after: float | None) -> float | None:
    # Of a loss of 0 there is no relative change.
    return after / before - 1 if before and after is not None else None
