"""The progress of a run is measured on what it does not train; higher is better."""

from dataclasses import replace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.records import preference_record, sft_record
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.probes import Probe
from training.evaluation.progress import held_out_progress, progress_at
from training.evaluation.report import figures, measure

TOLD = Probe("dog", "assistant_said", "What is my dog called?", (("nothing of the kind",),))
ANYTHING = Probe("cat", "assistant_said", "What is my cat called?", ())
UNTOLD = Probe("bus", "person_only", "Which bus do I take?", ())


@pytest.fixture
def model(tiny_model_path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_path)


@pytest.fixture
def tokenizer(tiny_model_path: str) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_path)


def test_memory_is_recall_where_there_are_probes_that_can_be_learned(model: Any, tokenizer: Any) -> None:
    given = EvaluationSet(probes=(TOLD, ANYTHING, UNTOLD), sft=(sft_record(1),), max_new_tokens=4)
    assert held_out_progress(model, tokenizer, given, max_length=64) == {"sft": 0.5, "preference": None}


def test_memory_is_the_held_out_loss_elsewhere(model: Any, tokenizer: Any) -> None:
    """A fact that only the person said cannot be learned, so that its probe says nothing."""
    given = EvaluationSet(probes=(UNTOLD,), sft=(sft_record(1), sft_record(2)), max_new_tokens=4)
    loss = figures(measure(model, tokenizer, given, max_length=64, when=""))["sft_loss"]
    assert loss is not None
    assert held_out_progress(model, tokenizer, given, max_length=64)["sft"] == pytest.approx(-loss)


def test_preference_is_the_held_out_margin(model: Any, tokenizer: Any) -> None:
    pair = preference_record(1)
    swapped = replace(pair, chosen=pair.rejected, rejected=pair.chosen)
    forth, back = (
        held_out_progress(model, tokenizer, EvaluationSet(preference=(each,)), max_length=64)["preference"]
        for each in (pair, swapped)
    )
    assert forth is not None
    assert back == pytest.approx(-forth)
    assert (
        forth
        == figures(measure(model, tokenizer, EvaluationSet(preference=(pair,)), max_length=64, when=""))[
            "preference_margin"
        ]
    )


def test_without_anything_to_measure_on_there_is_no_progress(model: Any, tokenizer: Any) -> None:
    assert held_out_progress(model, tokenizer, EvaluationSet(), max_length=64) == {"sft": None, "preference": None}


@pytest.mark.parametrize("probes", [(TOLD, ANYTHING, UNTOLD), (UNTOLD,), ()])
def test_a_whole_measurement_says_the_same(model: Any, tokenizer: Any, probes: tuple[Probe, ...]) -> None:
    given = EvaluationSet(probes, (sft_record(1), sft_record(2)), (preference_record(1),), max_new_tokens=4)
    measured = measure(model, tokenizer, given, max_length=64, when="")
    assert progress_at(measured) == pytest.approx(held_out_progress(model, tokenizer, given, max_length=64))
    nothing = measure(model, tokenizer, EvaluationSet(), max_length=64, when="")
    assert progress_at(nothing) == {"sft": None, "preference": None}
