"""Answers share the row of their prompt where the model scores them as it would alone, and only there."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
)

from tests.training.trainer.runs import config, in_order, run
from tests.training.trainer.test_trl_equality import logged, trl_dpo
from training.trainer.batches import Batching
from training.trainer.shared_rows import why_not_shared
from training.trainer.tree_attention import use_tree_attention

SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    # As wide as a trained model's weights: next to zero no layer does anything.
    "initializer_range": 0.3,
}


def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def convolutions() -> PreTrainedModel:
    torch.manual_seed(0)
    return Lfm2ForCausalLM(Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]))


def alibi() -> PreTrainedModel:
    torch.manual_seed(0)
    return BloomForCausalLM(
        BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3, pad_token_id=0)
    )


def recurrent() -> PreTrainedModel:
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2, state_size=8))


def window_within(tokens: int) -> PreTrainedModel:
    """A model of text and images, whose settings for text are nested in its config."""
    torch.manual_seed(0)
    image = {"image_size": 28, "patch_size": 14, "hidden_size": 16, "intermediate_size": 16}
    return Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={**SIZES, "head_dim": 8, "sliding_window": tokens},
            vision_config={**image, "num_hidden_layers": 1, "num_attention_heads": 2},
            mm_tokens_per_image=4,
        )
    )


@pytest.fixture
def folder_of(tiny_model_path: str, tmp_path: Path) -> Any:
    def folder_of(model: PreTrainedModel) -> str:
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model_path).save_pretrained(folder)
        return str(folder)

    return folder_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_is_no_reason(dtype: torch.dtype, seed: int) -> None:
    model = llama().to(dtype)
    use_tree_attention(model)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert why_not_shared(model, Batching(0, in_blocks=True)) is None
    model.set_attn_implementation("eager")
    assert why_not_shared(model, Batching(0, additive_mask=True)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_convolution_that_sees_the_other_answer_is_one(dtype: torch.dtype) -> None:
    model = convolutions().to(dtype)
    reason = why_not_shared(model, Batching(0)) or ""
    assert reason.startswith("it would change the model's log-probabilities, by 0.")
    use_tree_attention(model)
    assert why_not_shared(model, Batching(0, in_blocks=True)) == reason


@pytest.mark.parametrize("make", [alibi, recurrent])
def test_a_model_that_takes_no_such_mask_is_one(make: Any) -> None:
    reason = why_not_shared(make(), Batching(0, additive_mask=True)) or ""
    assert reason.startswith("the model does not take such rows: ")


def test_the_trial_leaves_no_trace() -> None:
    model = llama().train()
    before = torch.get_rng_state()
    why_not_shared(model, Batching(0))
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_of_attention_alone_shares_rows(
    tiny_model_path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = run(config(tiny_model_path, max_steps=1), tmp_path)
    assert trained.outcome.own_rows is None
    assert "share" not in caplog.text


def test_a_model_with_convolutions_has_trls_losses_and_says_why_it_takes_longer(
    folder_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(folder_of(convolutions()), lora={"target_modules": ["q_proj", "v_proj", "in_proj"]})
    with caplog.at_level(logging.WARNING):
        ours = run(settings, tmp_path / "ours", plan=in_order("preference", steps=4))
    losses = logged(trl_dpo(settings.model_name_or_path, settings, tmp_path / "trl", steps=4))
    assert abs(losses[-1] - losses[0]) > 1e-3
    assert ours.losses("preference") == pytest.approx(losses, abs=1e-4)
    assert (ours.outcome.own_rows or "").startswith("it would change the model's log-probabilities")
    (said,) = [record.getMessage() for record in caplog.records if "share" in record.getMessage()]
    assert said == f"answers to one prompt do not share its row, which costs time: {ours.outcome.own_rows}"


@pytest.mark.parametrize("window", [63, 64])
def test_a_window_shorter_than_a_row_is_one(window: int, folder_of: Any, tmp_path: Path) -> None:
    settings = config(folder_of(window_within(window)), lora={"target_modules": ["q_proj"]}, max_steps=1)
    reason = run(settings, tmp_path / "run").outcome.own_rows
    assert reason == ("max_length 64 is over the model's window of 63 tokens" if window == 63 else None)


def test_a_model_that_counts_columns_is_trained_at_all(folder_of: Any, tmp_path: Path) -> None:
    settings = config(
        folder_of(alibi()), attn_implementation="eager", lora={"target_modules": ["query_key_value"]}, max_steps=3
    )
    trained = run(settings, tmp_path / "run")
    assert len(trained.steps) == 3
    assert (trained.outcome.own_rows or "").startswith("the model does not take such rows: ")
