"""Before and after: one model measured twice on the same things."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.datasets import Chat, PreferenceRecord, SftRecord
from training.evaluation.measures import TokenLosses, completion_losses, greedy_answers, preference_accuracy
from training.evaluation.probes import Answer, Probe, recall
from training.trainer.tokenization import Tokenization


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What training never sees: probes, held-out pairs of both channels, general text."""

    probes: tuple[Probe, ...] = ()
    sft: tuple[SftRecord, ...] = ()
    preference: tuple[PreferenceRecord, ...] = ()
    general_text: tuple[tuple[Chat, Chat], ...] = ()
    max_new_tokens: int = 32


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model on an evaluation set; None where the set has nothing of the kind."""

    answers: tuple[Answer, ...]
    sft_losses: TokenLosses | None
    preference_accuracy: float | None
    general_losses: TokenLosses | None


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, given: EvaluationSet, *, max_length: int, when: str
) -> Measurement:
    """Measure the model as it is now; `when` names the moment on the progress bars."""
    was_training = model.training
    model.eval()
    tokenization = Tokenization(tokenizer, max_length=max_length)
    questions = [probe.question for probe in given.probes]
    texts = greedy_answers(
        model, tokenizer, questions, max_new_tokens=given.max_new_tokens, progress=f"recall {when} training"
    )
    held_out = [(record.prompt, record.completion) for record in given.sft]
    measurement = Measurement(
        answers=tuple(Answer(probe, text) for probe, text in zip(given.probes, texts, strict=True)),
        sft_losses=_losses(model, tokenization, held_out, f"held-out memory {when} training"),
        preference_accuracy=preference_accuracy(
            model, tokenization, given.preference, progress=f"held-out preference {when} training"
        )
        if given.preference
        else None,
        general_losses=_losses(model, tokenization, given.general_text, f"general text {when} training"),
    )
    model.train(was_training)
    return measurement


def comparison(before: Measurement, after: Measurement) -> dict[str, Any]:
    """Return what changed, as plain numbers.

    Recall counts the facts that the assistant has said; those that only the person said stand apart. Drift is the
    relative change of the median token loss on general text: 0 is none, 0.1 is 10 % worse.
    """
    told = [_recall(when, learnable=True) for when in (before, after)]
    untold = [_recall(when, learnable=False) for when in (before, after)]
    return {
        "recall_before": told[0],
        "recall_after": told[1],
        "recall_person_only_before": untold[0],
        "recall_person_only_after": untold[1],
        "preference_accuracy_before": before.preference_accuracy,
        "preference_accuracy_after": after.preference_accuracy,
        "sft_loss_before": _mean(before.sft_losses),
        "sft_loss_after": _mean(after.sft_losses),
        "drift_ratio": _change(_median(before.general_losses), _median(after.general_losses)),
        "drift_mean_ratio": _change(_mean(before.general_losses), _mean(after.general_losses)),
    }


def _losses(
    model: PreTrainedModel, tokenization: Tokenization, chats: Sequence[tuple[Chat, Chat]], progress: str
) -> TokenLosses | None:
    return completion_losses(model, tokenization, chats, progress=progress) if chats else None


def _recall(measurement: Measurement, *, learnable: bool) -> float | None:
    return recall([answer for answer in measurement.answers if answer.probe.is_learnable is learnable])


def _mean(losses: TokenLosses | None) -> float | None:
    return None if losses is None else losses.mean


def _median(losses: TokenLosses | None) -> float | None:
    return None if losses is None else losses.median


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after / before - 1
