"""Losses and preferences are measured token by token, whatever the batch."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.records import preference_record, sft_record
from training.datasets import PreferenceRecord
from training.evaluation.measures import TokenLosses, completion_losses, greedy_answers, preference_accuracy
from training.trainer.tokenization import Tokenization

CHATS = [(record.prompt, record.completion) for record in (sft_record(1), sft_record(2, answer="plain " * 20))]


@pytest.fixture
def model(tiny_model_path: str) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32).eval()


@pytest.fixture
def tokenization(tiny_model_path: str) -> Tokenization:
    return Tokenization(AutoTokenizer.from_pretrained(tiny_model_path), max_length=128)


def test_losses_are_those_of_a_plain_forward(model: AutoModelForCausalLM, tokenization: Tokenization) -> None:
    """Row by row, without padding, straight from the model's logits."""
    expected = []
    for prompt, completion in CHATS:
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(prompt, [completion])
        ids = torch.tensor([prompt_ids + completion_ids])
        with torch.no_grad():
            log_probs = model(ids).logits[0].log_softmax(-1)
        expected += [
            -log_probs[len(prompt_ids) - 1 + place, token].item() for place, token in enumerate(completion_ids)
        ]
    losses = completion_losses(model, tokenization, CHATS, progress="")
    assert losses.values.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_median_ignores_a_few_surprises() -> None:
    losses = TokenLosses(torch.tensor([0.1, 0.2, 0.3, 9.0, 0.25]))
    assert losses.median == pytest.approx(0.25)
    assert losses.mean == pytest.approx(1.97)


def test_preference_accuracy_compares_the_mean_over_tokens(
    model: AutoModelForCausalLM, tokenization: Tokenization
) -> None:
    """Each pair with its swap: exactly one of the two has the likelier answer as the chosen one."""
    pairs = [preference_record(number) for number in range(4)]
    swapped = [
        PreferenceRecord(p.id, p.prompt, p.rejected, p.chosen, p.weight, p.created_at, p.content_hash) for p in pairs
    ]
    accuracy = preference_accuracy(model, tokenization, pairs, progress="")
    assert accuracy + preference_accuracy(model, tokenization, swapped, progress="") == 1.0
    assert preference_accuracy(model, tokenization, pairs + swapped, progress="") == 0.5


def test_a_longer_answer_does_not_lose_by_its_length(model: AutoModelForCausalLM, tokenization: Tokenization) -> None:
    """The same sentence twice over has twice the summed loss; its mean stays about the same."""
    short = preference_record(1, chosen="plain answer", rejected="plain answer " * 8)
    losses = completion_losses(
        model, tokenization, [(short.prompt, short.chosen), (short.prompt, short.rejected)], progress=""
    )
    assert losses.values.numel() > 20
    accuracy = preference_accuracy(model, tokenization, [short], progress="")
    means = [
        completion_losses(model, tokenization, [(short.prompt, answer)], progress="").mean
        for answer in (short.chosen, short.rejected)
    ]
    assert accuracy == float(means[0] < means[1])


def test_answers_do_not_depend_on_what_shares_their_batch(
    model: AutoModelForCausalLM, tokenization: Tokenization
) -> None:
    questions = ["my dog", "tell me about your day, it was fine thank you", "number 7"]
    together = greedy_answers(model, tokenization.tokenizer, questions, max_new_tokens=8, progress="")
    alone = [
        greedy_answers(model, tokenization.tokenizer, [question], max_new_tokens=8, progress="")[0]
        for question in questions
    ]
    assert together == alone
