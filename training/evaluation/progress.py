"""How far a run has come, on what it does not train."""

from collections.abc import Mapping

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.measures import completion_losses, greedy_answers, preference_margins
from training.evaluation.probes import Answer, recall
from training.evaluation.report import Measurement, figures
from training.sampling.plan import Channel
from training.trainer.tokenization import Tokenization


def held_out_progress(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    given: EvaluationSet,
    max_length: int,
) -> Mapping[Channel, float | None]:
    """Return how good the model is in either channel: higher is better, None is what cannot be measured.

    Memory is recall, in [0, 1], where there are probes that training can teach; elsewhere it is minus the mean token
    loss on the held-out pairs, in nats. Preference is the mean margin on its held-out pairs, in nats per token.
    """
    tokenization = Tokenization(tokenizer, max_length=max_length)
    progress: dict[Channel, float | None] = {"sft": None, "preference": None}
    learnable = [probe for probe in given.probes if probe.is_learnable]
    if learnable:
        texts = greedy_answers(
            model,
            tokenizer,
            [probe.question for probe in learnable],
            max_new_tokens=given.max_new_tokens,
            progress="recall so far",
        )
        progress["sft"] = recall([Answer(probe, text) for probe, text in zip(learnable, texts, strict=True)])
    elif given.sft:
        chats = [(record.prompt, record.completion) for record in given.sft]
        progress["sft"] = -completion_losses(model, tokenization, chats, progress="held-out memory so far").mean
    if given.preference:
        margins = preference_margins(model, tokenization, given.preference, progress="held-out preference so far")
        progress["preference"] = margins.mean
    return progress


def progress_at(measurement: Measurement) -> Mapping[Channel, float | None]:
    """Return what `held_out_progress` would have said of the model when it was measured."""
    found = figures(measurement)
    loss = found["sft_loss"]
    memory = found["recall"] if found["recall"] is not None else None if loss is None else -loss
    return {"sft": memory, "preference": found["preference_margin"]}
