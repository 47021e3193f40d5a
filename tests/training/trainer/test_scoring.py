"""Scores of completion tokens equal those of the plain way."""

from collections.abc import Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from training.trainer import scoring
from training.trainer.scoring import PlacedLogits, Places, add_placed_head, score_tokens

ROWS = 600


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_TILE_NUMBERS", 50 * 32)


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def logits(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(ROWS, 50, generator=generator) * 4
    return values.to(request.param).requires_grad_()


@pytest.fixture
def targets() -> torch.Tensor:
    return torch.randint(0, 50, (ROWS,), generator=torch.Generator().manual_seed(1))


def test_the_scores_are_those_of_log_softmax(logits: torch.Tensor, targets: torch.Tensor) -> None:
    before = logits.detach().clone()
    scores = score_tokens(logits, targets, statistics=True)
    expected = before.float().log_softmax(-1)
    torch.testing.assert_close(scores.log_probs, expected.gather(-1, targets[:, None])[:, 0])
    assert scores.statistics is not None
    torch.testing.assert_close(scores.statistics.entropy, -(expected.exp() * expected).sum(-1))
    torch.testing.assert_close(scores.statistics.mean_logits, before.float().mean(-1))
    assert torch.equal(scores.statistics.is_top1, before.argmax(-1) == targets)
    assert torch.equal(logits, before)


def test_statistics_are_left_out_where_nobody_asks_for_them(logits: torch.Tensor, targets: torch.Tensor) -> None:
    assert score_tokens(logits, targets).statistics is None


def test_the_gradient_is_that_of_log_softmax(logits: torch.Tensor, targets: torch.Tensor) -> None:
    weights = torch.linspace(-1, 1, ROWS)
    plain = logits.detach().clone().float().requires_grad_()
    torch.autograd.backward((plain.log_softmax(-1).gather(-1, targets[:, None])[:, 0] * weights).sum())
    # Times 1: what a model hands over is no leaf.
    torch.autograd.backward((score_tokens(logits * 1, targets).log_probs * weights).sum())
    assert logits.grad is not None
    assert plain.grad is not None
    rounding = torch.finfo(logits.dtype).eps
    torch.testing.assert_close(logits.grad.float(), plain.grad, rtol=max(rounding, 1e-5), atol=1e-5)
    assert logits.grad.abs().max() > 0.1


def test_logits_that_something_else_needs_for_its_gradient_are_not_overwritten_unnoticed(
    logits: torch.Tensor, targets: torch.Tensor
) -> None:
    shared = logits * 1
    loss = shared.square().sum() + score_tokens(shared, targets).log_probs.sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


@pytest.fixture
def model(tiny_model_path: str) -> Iterator[PreTrainedModel]:
    yield AutoModelForCausalLM.from_pretrained(tiny_model_path)


def test_the_head_runs_at_the_wanted_places_alone(model: PreTrainedModel) -> None:
    ids = torch.arange(10, 22).reshape(2, 6)
    whole = model(input_ids=ids).logits
    add_placed_head(model)
    # A place may be wanted twice, and in any order.
    places = Places(torch.tensor([1, 0, 1, 1]), torch.tensor([2, 4, 2, 0]))
    placed = model(input_ids=ids, places=places)
    assert isinstance(placed, PlacedLogits)
    torch.testing.assert_close(placed.values, whole[places.rows, places.columns])


def test_a_call_without_places_is_as_before(model: PreTrainedModel) -> None:
    ids = torch.arange(10, 22).reshape(2, 6)
    whole = model(input_ids=ids).logits
    add_placed_head(model)
    model(input_ids=ids, places=Places(torch.tensor([0]), torch.tensor([0])))
    torch.testing.assert_close(model(input_ids=ids).logits, whole)
    assert model.generate(ids[:, :3], max_new_tokens=2, do_sample=False).shape == (2, 5)


def test_a_failing_pass_leaves_no_hook_behind(model: PreTrainedModel) -> None:
    add_placed_head(model)
    ids = torch.arange(10, 16).reshape(1, 6)
    with pytest.raises(IndexError):
        model(input_ids=ids, places=Places(torch.tensor([5]), torch.tensor([0])))
    assert model(input_ids=ids).logits.shape[:2] == (1, 6)


def test_the_head_may_be_kept_in_another_precision_for_calls_with_places_alone(model: PreTrainedModel) -> None:
    model.requires_grad_(False)
    ids = torch.arange(10, 22).reshape(2, 6)
    whole = model(input_ids=ids).logits
    add_placed_head(model, head_dtype=torch.bfloat16)
    places = Places(torch.tensor([1, 0]), torch.tensor([2, 4]))
    placed = model(input_ids=ids, places=places).values
    assert placed.dtype == torch.bfloat16
    torch.testing.assert_close(placed.float(), whole[places.rows, places.columns], rtol=0.02, atol=0.02)
    again = model(input_ids=ids).logits
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, whole)


def test_a_head_that_is_trained_stays_in_its_own_precision(model: PreTrainedModel) -> None:
    add_placed_head(model, head_dtype=torch.bfloat16)
    placed = model(input_ids=torch.arange(10, 16)[None], places=Places(torch.tensor([0]), torch.tensor([1])))
    assert placed.values.dtype == torch.float32
