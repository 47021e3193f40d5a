"""Two measurements make a comparison, in which what was not measured is None."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.records import preference_record, sft_record
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.measures import PreferenceMargins, TokenLosses
from training.evaluation.probes import Answer, Probe
from training.evaluation.report import Measurement, comparison, drift, figures, measure

TOLD = Probe("dog", "assistant_said", "What is my dog called?", (("Pixel",),))
UNTOLD = Probe("bus", "person_only", "Which bus do I take?", (("93",),))


def measurement(*, right: bool, margin: float, losses: list[float]) -> Measurement:
    return Measurement(
        answers=(Answer(TOLD, "Pixel" if right else "?"), Answer(UNTOLD, "?")),
        sft_losses=TokenLosses(torch.tensor(losses)),
        preference_margins=PreferenceMargins(torch.tensor([margin, 1.0])),
        general_losses=TokenLosses(torch.tensor(losses)),
    )


BEFORE = measurement(right=False, margin=-2.0, losses=[1.0, 2.0, 6.0])
AFTER = measurement(right=True, margin=0.5, losses=[1.0, 1.5, 2.0])
NOTHING = Measurement((), None, None, None)


def test_every_figure_stands_before_and_after() -> None:
    assert comparison(BEFORE, AFTER) == pytest.approx(
        {
            "recall_before": 0.0,
            "recall_after": 1.0,
            "recall_person_only_before": 0.0,
            "recall_person_only_after": 0.0,
            "preference_accuracy_before": 0.5,
            "preference_accuracy_after": 1.0,
            "preference_margin_before": -0.5,
            "preference_margin_after": 0.75,
            "sft_loss_before": 3.0,
            "sft_loss_after": 1.5,
            "sft_loss_median_before": 2.0,
            "sft_loss_median_after": 1.5,
            "general_loss_before": 3.0,
            "general_loss_after": 1.5,
            "general_loss_median_before": 2.0,
            "general_loss_median_after": 1.5,
            "drift_ratio": -0.25,
            "drift_mean_ratio": -0.5,
        }
    )


def test_what_was_not_measured_is_none_and_never_nought() -> None:
    found = comparison(NOTHING, NOTHING)
    assert len(found) == 18
    assert set(found.values()) == {None}
    assert set(drift(NOTHING, AFTER).values()) == set(drift(AFTER, NOTHING).values()) == {None}


def test_what_is_no_number_was_not_measured() -> None:
    """As with an adapter that diverged; JSON has no NaN either."""
    broken = measurement(right=False, margin=float("nan"), losses=[float("nan"), float("inf")])
    found = figures(broken)
    assert found["preference_margin"] is found["sft_loss"] is found["general_loss_median"] is None
    json.dumps(comparison(BEFORE, broken), allow_nan=False)


def test_a_change_from_nought_has_no_ratio() -> None:
    certain = measurement(right=True, margin=1.0, losses=[0.0, 0.0, 0.0])
    assert drift(certain, AFTER) == {"drift_ratio": None, "drift_mean_ratio": None}
    assert drift(AFTER, certain) == {"drift_ratio": -1.0, "drift_mean_ratio": -1.0}


def test_a_model_is_measured_on_all_that_is_given(tiny_model_path: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
    general = sft_record(3)
    given = EvaluationSet(
        probes=(TOLD, UNTOLD),
        sft=(sft_record(1),),
        preference=(preference_record(2),),
        general_text=((general.prompt, general.completion),),
        max_new_tokens=4,
    )
    found = measure(model, tokenizer, given, max_length=64, when="now")
    assert [answer.probe for answer in found.answers] == [TOLD, UNTOLD]
    assert None not in figures(found).values()
    empty = measure(model, tokenizer, EvaluationSet(), max_length=64, when="now")
    assert empty == NOTHING
