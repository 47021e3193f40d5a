"""What can be measured of a model: its answers, its losses, its preferences.

Nothing here changes the model: not its modes, not its methods, not the state of the random numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.datasets import Chat, PreferenceRecord
from training.trainer.batches import BATCH_OVERHEAD_TOKENS
from training.trainer.chat_template import chat_tokens
from training.trainer.packing import TokenSequence, length_buckets
from training.trainer.scoring import Places, add_placed_head, score_tokens
from training.trainer.tokenization import Tokenization

# Texts in one forward pass, which holds the logits of all their completion tokens.
SCORED_ROWS = 8
# Answers decoded side by side: each token reads all the weights once, however many rows share it.
DECODED_ROWS = 32


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """Loss in nats of each completion token of a set of texts, shape (tokens,)."""

    values: torch.Tensor

    @property
    def mean(self) -> float:
        """Mean token loss."""
        return float(self.values.mean())

    @property
    def median(self) -> float:
        """Median token loss: what the typical token costs, whatever a few surprises do."""
        return float(self.values.median())


@dataclass(frozen=True, slots=True)
class PreferenceMargins:
    """How much likelier the chosen answer of each pair is than the rejected one, shape (pairs,).

    The difference of their mean token log-probabilities, in nats. The mean, not the sum, so that a short answer does
    not win by being short; no reference is needed, so that the same can be measured of any model.
    """

    values: torch.Tensor

    @property
    def mean(self) -> float:
        """Mean margin in nats per token."""
        return float(self.values.mean())

    @property
    def accuracy(self) -> float:
        """Share of the pairs, in [0, 1], whose chosen answer is the likelier one."""
        return float((self.values > 0).double().mean())


@torch.no_grad()
def greedy_answers(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_new_tokens: int,
    progress: str,
) -> list[str]:
    """Return the model's answer to each question on its own, by greedy decoding."""
    answers: list[str] = []
    bare = _bare(model)
    with _evaluating(bare), tqdm(total=len(questions), desc=progress, unit="answer", disable=None, leave=False) as bar:
        for start in range(0, len(questions), DECODED_ROWS):
            chats = [[{"role": "user", "content": question}] for question in questions[start : start + DECODED_ROWS]]
            encoded = chat_tokens(
                tokenizer,
                chats,
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                tokenizer_kwargs={"padding_side": "left"},
            ).to(bare.device)
            generated = bare.generate(
                **encoded,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                use_cache=True,
            )
            new_tokens = generated[:, encoded["input_ids"].shape[1] :]
            answers += [text.strip() for text in tokenizer.batch_decode(new_tokens, skip_special_tokens=True)]
            bar.update(len(chats))
    return answers


def completion_losses(
    model: PreTrainedModel | PeftModel,
    tokenization: Tokenization,
    chats: Sequence[tuple[Chat, Chat]],
    *,
    progress: str,
) -> TokenLosses:
    """Return the loss of every completion token; `chats` are prompts with their completions, one at least."""
    sequences = [_sequences(tokenization, prompt, [completion])[0] for prompt, completion in chats]
    return TokenLosses(torch.cat(_token_losses(model, sequences, progress=progress)))


def preference_margins(
    model: PreTrainedModel | PeftModel,
    tokenization: Tokenization,
    pairs: Sequence[PreferenceRecord],
    *,
    progress: str,
) -> PreferenceMargins:
    """Return the margin of every pair; there must be one at least."""
    sequences = [
        sequence for pair in pairs for sequence in _sequences(tokenization, pair.prompt, [pair.chosen, pair.rejected])
    ]
    means = torch.stack([losses.mean() for losses in _token_losses(model, sequences, progress=progress)])
    chosen, rejected = means[::2], means[1::2]
    return PreferenceMargins(rejected - chosen)


def _sequences(tokenization: Tokenization, prompt: Chat, answers: Sequence[Chat]) -> list[TokenSequence]:
    prompt_ids, answer_ids = tokenization.prompt_and_answers(prompt, answers)
    return [TokenSequence((*prompt_ids, *ids), start=len(prompt_ids)) for ids in answer_ids]


@torch.no_grad()
def _token_losses(
    model: PreTrainedModel | PeftModel, sequences: Sequence[TokenSequence], *, progress: str
) -> list[torch.Tensor]:
    """Return for each sequence the losses of its completion tokens in nats, shape (completion tokens,).

    Each sequence has a row of its own, so that what training makes of packed rows is judged by plain ones.
    """
    losses: list[torch.Tensor] = [torch.empty(0)] * len(sequences)
    lengths = [len(sequence.ids) for sequence in sequences]
    buckets = length_buckets(lengths, overhead_tokens=BATCH_OVERHEAD_TOKENS, largest=SCORED_ROWS)
    bare = _bare(model)
    with (
        _evaluating(bare),
        _placed_head(bare),
        tqdm(total=len(sequences), desc=progress, unit="text", disable=None, leave=False) as bar,
    ):
        for bucket in buckets:
            batch = [sequences[index] for index in bucket]
            for index, found in zip(bucket, _batch_losses(bare, batch), strict=True):
                losses[index] = found
            bar.update(len(bucket))
    return losses


def _batch_losses(model: PreTrainedModel, batch: Sequence[TokenSequence]) -> Sequence[torch.Tensor]:
    input_ids = torch.zeros((len(batch), max(len(sequence.ids) for sequence in batch)), dtype=torch.long)
    is_target = torch.zeros_like(input_ids, dtype=torch.bool)
    for row, sequence in enumerate(batch):
        size = len(sequence.ids)
        input_ids[row, :size] = torch.tensor(sequence.ids)
        is_target[row, sequence.start : size] = True
    rows, columns = is_target.nonzero(as_tuple=True)
    device = model.device
    # Each token is predicted at the position before it. Padding comes last, where no token of a text looks.
    places = Places(rows.to(device), columns.to(device) - 1)
    placed = model(input_ids=input_ids.to(device), places=places)
    losses = -score_tokens(placed.values, input_ids[is_target].to(device)).log_probs.cpu()
    return torch.split(losses, [sequence.completion_length for sequence in batch])


def _bare(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the model that has the adapter's layers in it, without what PEFT and Accelerate have put around it.

    It gives the same answers in the precision of its weights, and PEFT's `generate` would leave a method behind.
    """
    return model.get_base_model() if isinstance(model, PeftModel) else model


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and its like off; afterwards every module is in its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _placed_head(model: PreTrainedModel) -> Iterator[None]:
    """Let the model take `places`; afterwards its `forward` is what it was."""
    before = vars(model).get("forward")
    add_placed_head(model)
    try:
        yield
    finally:
        if before is None:
            del model.forward
        else:
            model.forward = before
