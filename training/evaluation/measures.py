"""What can be measured of a model: its answers, its losses, its preferences."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.datasets import Chat, PreferenceRecord
from training.trainer.tokenization import Tokenization

# Texts in one forward pass, which holds the logits of all their tokens.
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


@torch.no_grad()
def greedy_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_new_tokens: int,
    progress: str,
) -> list[str]:
    """Return the model's answer to each question on its own, by greedy decoding."""
    answers: list[str] = []
    with tqdm(total=len(questions), desc=progress, unit="answer", disable=None, leave=False) as bar:
        for start in range(0, len(questions), DECODED_ROWS):
            chats = [[{"role": "user", "content": question}] for question in questions[start : start + DECODED_ROWS]]
            encoded = tokenizer.apply_chat_template(
                chats,
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
                tokenizer_kwargs={"padding_side": "left"},
            ).to(model.device)
            generated = model.generate(
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
    model: PreTrainedModel, tokenization: Tokenization, chats: Sequence[tuple[Chat, Chat]], *, progress: str
) -> TokenLosses:
    """Return the loss of every completion token; each chat is a prompt with its completion."""
    rows = []
    for prompt, completion in chats:
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(prompt, [completion])
        rows.append((prompt_ids, completion_ids))
    return TokenLosses(torch.cat(_row_losses(model, rows, progress=progress)))


def preference_accuracy(
    model: PreTrainedModel, tokenization: Tokenization, pairs: Sequence[PreferenceRecord], *, progress: str
) -> float:
    """Return the share of pairs, in [0, 1], whose chosen answer is the likelier one per token.

    The mean over tokens, not the sum, so that a short answer does not win by being short. No reference is
    needed, so that the same number can be taken of any model.
    """
    rows = []
    for pair in pairs:
        prompt_ids, answers = tokenization.prompt_and_answers(pair.prompt, [pair.chosen, pair.rejected])
        rows += [(prompt_ids, answer_ids) for answer_ids in answers]
    means = [float(losses.mean()) for losses in _row_losses(model, rows, progress=progress)]
    chosen, rejected = means[::2], means[1::2]
    return sum(good < bad for good, bad in zip(chosen, rejected, strict=True)) / len(pairs)


@torch.no_grad()
def _row_losses(
    model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]], *, progress: str
) -> list[torch.Tensor]:
    """Return for each row of prompt and completion ids the losses of its completion tokens, in nats."""
    # Rows of like length share a batch, so that little of it is padding.
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]) + len(rows[index][1]))
    losses: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    with tqdm(total=len(rows), desc=progress, unit="text", disable=None, leave=False) as bar:
        for start in range(0, len(order), SCORED_ROWS):
            chosen = order[start : start + SCORED_ROWS]
            longest = max(len(rows[index][0]) + len(rows[index][1]) for index in chosen)
            input_ids = torch.zeros((len(chosen), longest), dtype=torch.long)
            attention_mask = torch.zeros_like(input_ids)
            for row, index in enumerate(chosen):
                ids = rows[index][0] + rows[index][1]
                input_ids[row, : len(ids)] = torch.tensor(ids)
                attention_mask[row, : len(ids)] = 1
            logits = model(
                input_ids=input_ids.to(model.device), attention_mask=attention_mask.to(model.device), use_cache=False
            ).logits
            for row, index in enumerate(chosen):
                first, last = len(rows[index][0]), len(rows[index][0]) + len(rows[index][1])
                targets = input_ids[row, first:last].to(logits.device)
                losses[index] = torch.nn.functional.cross_entropy(
                    logits[row, first - 1 : last - 1].float(), targets, reduction="none"
                ).cpu()
            bar.update(len(chosen))
    return losses
