"""Whether a model scores sequences that share a row as it scores each alone."""

import torch
from transformers import PreTrainedModel

from training.trainer.batches import Batching, Example, MicroBatch
from training.trainer.packing import TokenSequence

# A prompt and two answers of so many tokens are tried.
_PROMPT, _ANSWER = 16, 16
# Mean difference of a token's log-probability, in nats, that is rounding in float32.
_LEAST = 1e-4
# What the second answer may differ by, for each nat that the first one does.
_ALLOWED = 4.0


@torch.no_grad()
def why_not_shared(model: PreTrainedModel, batching: Batching) -> str | None:
    """Return why rows that branch, as `batching` makes them, are wrong for the model; None where they are right.

    A mask and restarted positions are all that keeps an answer from the one before it in its row. Convolutions and
    recurrent layers go by columns instead, and so do attention biases that count their distance. One pair of answers is
    scored both ways. The first answer stands in the row as it would alone: what it differs by is rounding, by which
    the second one is judged.
    """
    pair = [Example("preference", 0, _answers(model.config.get_text_config().vocab_size))]
    alone = Batching(batching.pad_token_id, shares_prefixes=False)
    was_training = model.training
    model.eval()
    try:
        expected = _log_probs(model, alone.micro_batches(pair)[0])
        found = _log_probs(model, batching.micro_batches(pair)[0])
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"the model does not take such rows: {' '.join(str(error).split())}"
    finally:
        model.train(was_training)
    difference = (found - expected).abs()
    first, second = difference[:_ANSWER].mean().item(), difference[_ANSWER:].mean().item()
    rounding = torch.finfo(model.dtype).eps * expected.abs().mean().item()
    if second <= max(_LEAST, rounding, _ALLOWED * first):
        return None
    return f"it would change the model's log-probabilities, by {second:.2g} nats a token"


def _answers(vocabulary: int) -> tuple[TokenSequence, TokenSequence]:
    """Return two answers to one prompt, of tokens from all over the vocabulary, which differ from the first on."""
    ids = [(7919 * number * number + 104729 * number) % vocabulary for number in range(1, _PROMPT + 2 * _ANSWER + 1)]
    prompt, chosen, rejected = ids[:_PROMPT], ids[_PROMPT:-_ANSWER], ids[-_ANSWER:]
    if chosen[0] == rejected[0]:
        rejected[0] = (rejected[0] + 1) % vocabulary
    return TokenSequence((*prompt, *chosen), _PROMPT), TokenSequence((*prompt, *rejected), _PROMPT)


def _log_probs(model: PreTrainedModel, batch: MicroBatch) -> torch.Tensor:
    """Return the log-probability of each completion token in nats, shape (tokens,)."""
    placed = batch.to(model.device)
    logits: torch.Tensor = model(**placed.inputs, use_cache=False).logits[placed.rows, placed.columns]
    return logits.float().log_softmax(-1).gather(-1, placed.targets.unsqueeze(-1)).squeeze(-1)
