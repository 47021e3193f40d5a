"""The model's predictions of completion tokens, without those of the prompt."""

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
