"""Losses and preferences are measured token by token, whatever the batch, and leave the model as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.evaluation.adapter_folders import adapted
from tests.training.records import preference_record, sft_record
from training.evaluation.measures import (
    PreferenceMargins,
    TokenLosses,
    completion_losses,
    greedy_answers,
    preference_margins,
)
from training.trainer.scoring import add_placed_head
from training.trainer.tokenization import Tokenization

CHATS = [(record.prompt, record.completion) for record in (sft_record(1), sft_record(2, answer="plain " * 20))]
PAIRS = [preference_record(number) for number in range(4)]


@pytest.fixture
def model(tiny_model_path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32).eval()


@pytest.fixture
def tokenization(tiny_model_path: str) -> Tokenization:
    return Tokenization(AutoTokenizer.from_pretrained(tiny_model_path), max_length=128)


def with_adapter(model: Any) -> PeftModel:
    return adapted(model, lora_dropout=0.5)


def plain_losses(model: Any, tokenization: Tokenization) -> list[float]:
    """Row by row, without padding, straight from the model's logits."""
    expected = []
    for prompt, completion in CHATS:
        prompt_ids, (completion_ids,) = tokenization.prompt_and_answers(prompt, [completion])
        with torch.no_grad():
            log_probs = model(torch.tensor([prompt_ids + completion_ids])).logits[0].log_softmax(-1)
        expected += [
            -log_probs[len(prompt_ids) - 1 + place, token].item() for place, token in enumerate(completion_ids)
        ]
    return expected


def test_losses_are_those_of_a_plain_forward(model: Any, tokenization: Tokenization) -> None:
    losses = completion_losses(model, tokenization, CHATS, progress="")
    assert losses.values.tolist() == pytest.approx(plain_losses(model, tokenization), abs=1e-4)


def test_losses_of_an_adapted_model_are_those_of_a_plain_forward(model: Any, tokenization: Tokenization) -> None:
    base = plain_losses(model, tokenization)
    model = with_adapter(model).eval()
    expected = plain_losses(model, tokenization)
    assert expected != pytest.approx(base, abs=1e-2)
    losses = completion_losses(model, tokenization, CHATS, progress="")
    assert losses.values.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_head_runs_on_completion_tokens_alone(model: Any, tokenization: Tokenization) -> None:
    scored: list[int] = []
    model.get_output_embeddings().register_forward_hook(
        lambda _module, inputs, _output: scored.append(inputs[0].shape[:-1].numel())
    )
    losses = completion_losses(model, tokenization, CHATS, progress="")
    assert sum(scored) == losses.values.numel()


def test_the_median_ignores_a_few_surprises() -> None:
    losses = TokenLosses(torch.tensor([0.1, 0.2, 0.3, 9.0, 0.25]))
    assert losses.median == pytest.approx(0.25)
    assert losses.mean == pytest.approx(1.97)


def test_a_margin_is_the_difference_of_the_mean_token_losses(model: Any, tokenization: Tokenization) -> None:
    expected = []
    for pair in PAIRS:
        chosen, rejected = (
            completion_losses(model, tokenization, [(pair.prompt, answer)], progress="").mean
            for answer in (pair.chosen, pair.rejected)
        )
        expected.append(rejected - chosen)
    assert preference_margins(model, tokenization, PAIRS, progress="").values.tolist() == pytest.approx(
        expected, abs=1e-5
    )


def test_swapped_pairs_have_the_opposite_margin(model: Any, tokenization: Tokenization) -> None:
    swapped = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in PAIRS]
    margins = preference_margins(model, tokenization, [*PAIRS, *swapped], progress="")
    assert margins.values[:4].tolist() == pytest.approx((-margins.values[4:]).tolist(), abs=1e-5)
    assert margins.accuracy == 0.5


def test_accuracy_counts_the_pairs_whose_chosen_answer_is_likelier() -> None:
    margins = PreferenceMargins(torch.tensor([0.5, -0.1, 0.0, 2.0]))
    assert margins.accuracy == 0.5
    assert margins.mean == pytest.approx(0.6)


def test_a_longer_answer_does_not_lose_by_its_length(model: Any, tokenization: Tokenization) -> None:
    """The same words eight times over have eight times the summed loss; the mean stays about the same."""
    pair = preference_record(1, chosen="plain answer", rejected="plain answer " * 8)
    sums = [
        completion_losses(model, tokenization, [(pair.prompt, answer)], progress="").values.sum()
        for answer in (pair.chosen, pair.rejected)
    ]
    assert sums[1] > 4 * sums[0]
    assert abs(preference_margins(model, tokenization, [pair], progress="").mean) < 1


def test_answers_do_not_depend_on_what_shares_their_batch(model: Any, tokenization: Tokenization) -> None:
    questions = ["my dog", "tell me about your day, it was fine thank you", "number 7"]
    together = greedy_answers(model, tokenization.tokenizer, questions, max_new_tokens=8, progress="")
    alone = [
        greedy_answers(model, tokenization.tokenizer, [question], max_new_tokens=8, progress="")[0]
        for question in questions
    ]
    assert together == alone


def test_questions_are_asked_as_answers_are_trained(
    model: Any, tokenization: Tokenization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that leaves room for reasoning unless told not to."""
    tokenizer = tokenization.tokenizer
    tokenizer.chat_template += "{% if enable_thinking is not defined or enable_thinking %}plain{% endif %}"
    asked: list[list[int]] = []

    def generate(input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        asked.extend(input_ids.tolist())
        return input_ids

    monkeypatch.setattr(model, "generate", generate)
    question = [{"role": "user", "content": "my dog"}]
    greedy_answers(model, tokenizer, ["my dog"], max_new_tokens=4, progress="")
    prompt_ids, _ = tokenization.prompt_and_answers(question, [[{"role": "assistant", "content": "is called Pixel"}]])
    assert asked == [prompt_ids]
    assert tokenizer.decode(prompt_ids).endswith("<s>assistant\n")


def everything(model: Any, tokenization: Tokenization) -> None:
    greedy_answers(model, tokenization.tokenizer, ["my dog", "number 7"], max_new_tokens=4, progress="")
    completion_losses(model, tokenization, CHATS, progress="")
    preference_margins(model, tokenization, PAIRS, progress="")


def nothing(model: Any, tokenization: Tokenization) -> None:
    pass


def state(model: Any) -> dict[str, Any]:
    """What a measurement could leave behind in a module: attributes, hooks, modes, and the random numbers."""
    found: dict[str, Any] = {"random": torch.get_rng_state().tolist()}
    for name, module in model.named_modules():
        found[name] = {
            "attributes": sorted(vars(module)),
            "forward": vars(module).get("forward"),
            "training": module.training,
            "hooks": [len(module._forward_hooks), len(module._forward_pre_hooks)],
        }
    return found


def test_measuring_leaves_no_trace(model: Any, tokenization: Tokenization) -> None:
    model = with_adapter(model).train()
    # One module in another mode than the rest, as a frozen part would be.
    model.get_base_model().model.layers[0].eval()
    before = state(model)
    everything(model, tokenization)
    assert state(model) == before


def test_a_head_that_takes_places_already_is_still_there_afterwards(model: Any, tokenization: Tokenization) -> None:
    add_placed_head(model)
    own = model.forward
    everything(model, tokenization)
    assert model.forward == own


def test_modes_come_back_where_measuring_fails(model: Any, tokenization: Tokenization) -> None:
    model = with_adapter(model).train()

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    hook = model.get_base_model().model.layers[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        completion_losses(model, tokenization, CHATS, progress="")
    hook.remove()
    assert all(module.training for module in model.modules())
    assert "forward" not in vars(model.get_base_model())


def trained(model: Any, tokenization: Tokenization, measure: Callable[[Any, Tokenization], None]) -> list[float]:
    """Three steps with dropout, interrupted by a measurement between the backward pass and the step."""
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.5)
    ids = torch.tensor([tokenization.prompt_and_answers(*(CHATS[0][0], [CHATS[0][1]]))[0]])
    torch.manual_seed(7)
    losses = []
    for _ in range(3):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        measure(model, tokenization)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_a_measurement_in_the_middle_does_not_change_training(tiny_model_path: str, tokenization: Tokenization) -> None:
    courses = []
    for measures in (False, True):
        base = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)
        model = with_adapter(base).train()
        courses.append(trained(model, tokenization, everything if measures else nothing))
    assert courses[0] == courses[1]
    assert len(set(courses[0])) == 3
