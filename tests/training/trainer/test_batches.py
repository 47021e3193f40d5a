"""Micro-batches score pairs as the plain way does, one sequence at a time."""

from collections.abc import Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tests.training.records import preference_record, sft_record
from training.trainer.batches import Batching, Example, preference_examples, sft_examples
from training.trainer.packing import TokenSequence
from training.trainer.pair_scores import completion_log_probs
from training.trainer.scoring import add_placed_head, score_tokens
from training.trainer.tokenization import Tokenization
from training.trainer.tree_attention import use_tree_attention

CONTEXT = tuple(range(10, 50))


def sequence(prompt: Sequence[int], completion: Sequence[int]) -> TokenSequence:
    return TokenSequence((*prompt, *completion), start=len(prompt))


def examples() -> list[Example]:
    """Two turns of one conversation, a lone memory pair, preference pairs long and short."""
    return [
        Example("sft", 0, (sequence(CONTEXT, (60, 61, 62)),), "talk"),
        Example("sft", 1, (sequence((*CONTEXT, 60, 61, 62, 63), (64, 65)),), "talk"),
        Example("sft", 2, (sequence((5, 6), (7, 8, 9)),), None),
        Example("preference", 0, (sequence((5, 6, 7), (70, 71)), sequence((5, 6, 7), (80, 81, 82))), "other"),
        Example("preference", 1, (sequence(CONTEXT, (90,)), sequence(CONTEXT, (91, 92, 93, 94))), "talk"),
    ]


def plain_log_probs(model: PreTrainedModel, given: TokenSequence) -> torch.Tensor:
    ids = torch.tensor([given.ids])
    log_probs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    total: torch.Tensor = log_probs.gather(-1, ids[0, 1:, None])[given.start - 1 :].sum()
    return total


@pytest.fixture
def model(tiny_model_path: str) -> PreTrainedModel:
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)
    add_placed_head(loaded)
    use_tree_attention(loaded)
    return loaded.eval()


BATCHINGS = [
    Batching(0),
    Batching(0, shares_prefixes=False),
    Batching(0, whole=True),
    Batching(0, additive_mask=True),
    Batching(0, in_blocks=True),
    Batching(0, in_blocks=True, shares_prefixes=False),
    Batching(0, largest=1),
]


@pytest.mark.parametrize("batching", BATCHINGS, ids=repr)
def test_log_probabilities_are_those_of_each_sequence_alone(batching: Batching, model: PreTrainedModel) -> None:
    found = completion_log_probs(
        lambda batch: model(**batch.inputs, places=batch.places), examples(), batching, device=torch.device("cpu")
    )
    with torch.no_grad():
        expected = [[plain_log_probs(model, s).item() for s in example.sequences] for example in examples()]
    for number, (values, plain) in enumerate(zip(found, expected, strict=True)):
        assert values == pytest.approx(plain, abs=1e-3), number


@pytest.mark.parametrize("batching", BATCHINGS, ids=repr)
def test_gradients_are_those_of_each_sequence_alone(batching: Batching, model: PreTrainedModel) -> None:
    """The sum over chosen and memory completions less that over rejected ones, through both ways."""
    model.zero_grad()
    for batch in batching.micro_batches(examples()):
        scores = score_tokens(model(**batch.inputs, places=batch.places).values, batch.targets)
        sums = batch.by_sequence(scores.log_probs)
        kept = batch.sft_count + batch.preference_count
        torch.autograd.backward(sums[:kept].sum() - sums[kept:].sum())
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = sum(
        plain_log_probs(model, s) * (-1 if number else 1) for e in examples() for number, s in enumerate(e.sequences)
    )
    assert isinstance(total, torch.Tensor)
    torch.autograd.backward(total)
    assert len(found) > 10
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-3, rtol=1e-3, msg=name)


def test_turns_of_one_conversation_share_their_context() -> None:
    shared = sum(batch.tokens for batch in Batching(0).micro_batches(examples()))
    apart = sum(batch.tokens for batch in Batching(0, shares_prefixes=False).micro_batches(examples()))
    # Both turns and the preference pair of the talk hold the context of 40 tokens in common, once of five times.
    assert apart - shared > 3 * len(CONTEXT)


def test_pairs_of_other_conversations_keep_rows_of_their_own() -> None:
    twins = [Example("sft", n, (sequence(CONTEXT, (60 + n, 61)),), name) for n, name in enumerate(["one", "two"])]
    (batch,) = Batching(0).micro_batches(twins)
    assert batch.inputs["input_ids"].shape == (2, 42)


def test_a_step_is_divided_into_at_least_so_many_parts() -> None:
    given = [Example("sft", n, (sequence((5, 6), (7, 8)),)) for n in range(8)]
    assert len(Batching(0).micro_batches(given)) == 1
    assert [batch.sft_count for batch in Batching(0).micro_batches(given, parts=4)] == [2, 2, 2, 2]


def test_the_tokenizer_of_the_fixture_has_the_ids_used_here(tiny_model_path: str) -> None:
    assert len(AutoTokenizer.from_pretrained(tiny_model_path)) > 95


def test_pairs_that_are_not_drawn_keep_their_place_without_tokens(tiny_model_path: str) -> None:
    tokenization = Tokenization(AutoTokenizer.from_pretrained(tiny_model_path), max_length=64)
    memory, reward = [sft_record(number) for number in range(4)], [preference_record(number) for number in range(4)]
    for whole, part in (
        (sft_examples(memory, tokenization), sft_examples(memory, tokenization, drawn={1, 3})),
        (preference_examples(reward, tokenization), preference_examples(reward, tokenization, drawn={1, 3})),
    ):
        assert [example.index for example in part] == [0, 1, 2, 3]
        assert [len(example.sequences) > 0 for example in part] == [False, True, False, True]
        assert (part[1], part[3]) == (whole[1], whole[3])
