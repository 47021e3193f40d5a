"""The model's predictions of completion tokens, without those of the prompt."""

from dataclasses import dataclass
from typing import Any

import torch


def completion_logits(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of shape (tokens, vocab), and the completion tokens they should predict, of shape (tokens,).

    `inputs` is a memory batch of `DualCollator`. All completions end together, so that the head, which for a small
    model is a fifth of the work, runs on the last positions of the batch alone.
    """
    completion_mask = inputs["completion_mask"].bool()
    # Each token is predicted at the position before it, and the last position predicts nothing that is known.
    kept = int(completion_mask.sum(dim=1).max()) + 1
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        use_cache=False,
        logits_to_keep=kept,
    )
    scored = completion_mask[:, -kept:][:, 1:]
    return outputs.logits[:, :-1][scored], inputs["input_ids"][:, -kept:][:, 1:][scored]


@dataclass(frozen=True, slots=True)
class CompletionScores:
    """What TRL's losses and metrics read of a forward pass; each of shape (rows, T-1), 0 outside the completions.

    `log_probs` and `entropy` are in nats, `aux_loss` is a mixture-of-experts model's own.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor
    mean_logits: torch.Tensor
    is_top1: torch.Tensor
    aux_loss: torch.Tensor | None


class CompletionScorer:
    """Stands in for a model in TRL's preference loss, where there is no Triton.

    There TRL projects every position onto the vocabulary, prompt and padding included, and again in the backward
    pass. This runs the head on the columns in which some row has a completion token.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __call__(
        self,
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        fused_lm_head: bool,
        **forwarded: Any,
    ) -> CompletionScores:
        """Score the next token of every position whose label, of shape (rows, T), is not -100."""
        next_labels = labels[:, 1:]
        scored = next_labels != -100  # (rows, T-1)
        columns = scored.any(dim=0).nonzero().squeeze(1)
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=columns, **forwarded)
        kept = scored[:, columns]
        logits = outputs.logits[kept].float()  # (tokens, vocab)
        targets = next_labels[:, columns][kept]
        log_softmax = logits.log_softmax(-1)
        log_probs = log_softmax.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        with torch.no_grad():
            entropy = -(log_softmax.exp() * log_softmax).sum(-1)
            mean_logits = logits.mean(-1)
            is_top1 = logits.argmax(-1) == targets

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(scored.shape).masked_scatter(scored, values)

        return CompletionScores(
            log_probs=spread(log_probs),
            entropy=spread(entropy),
            mean_logits=spread(mean_logits),
            is_top1=spread(is_top1),
            aux_loss=getattr(outputs, "aux_loss", None),
        )
