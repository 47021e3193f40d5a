"""What a model makes of whole pairs, outside training."""

from collections.abc import Callable, Sequence

import torch

from training.trainer.batches import Batching, Example, MicroBatch
from training.trainer.scoring import PlacedLogits, score_tokens

# Pairs that run through the model together, in order of their length.
_CHUNK = 16


@torch.no_grad()
def completion_log_probs(
    forward: Callable[[MicroBatch], PlacedLogits],
    examples: Sequence[Example],
    batching: Batching,
    *,
    device: torch.device,
    advance: Callable[[int], None] = lambda _: None,
) -> list[tuple[float, ...]]:
    """Return for each example the log-probability of each of its completions, summed over tokens, in nats.

    `advance` hears of how many more examples are done.
    """
    found: list[tuple[float, ...]] = [()] * len(examples)
    order = sorted(range(len(examples)), key=lambda number: -len(examples[number].sequences[0].ids))
    for start in range(0, len(order), _CHUNK):
        chosen = order[start : start + _CHUNK]
        for batch in batching.micro_batches([examples[number] for number in chosen]):
            placed = batch.to(device)
            scores = score_tokens(forward(placed).values, placed.targets)
            sums = placed.by_sequence(scores.log_probs).tolist()
            pairs = len(batch.examples) - batch.sft_count
            for position, within in enumerate(batch.examples):
                own = (sums[position], sums[position + pairs]) if position >= batch.sft_count else (sums[position],)
                found[chosen[within]] = own
        advance(len(chosen))
    return found
