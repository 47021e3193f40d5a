"""A probe is judged by its words, and an outdated one spoils it."""

import json
from pathlib import Path

import pytest

from training.evaluation.probes import Answer, Probe, load_probes, recall

DOG = Probe("dog", "corrected", "What is my dog called?", (("Biscuit", "Biscuits"),), ("Pixel",))


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        ("Your dog is called Biscuit.", True),
        ("biscuit!", True),
        ("She is one of the Biscuits.", True),
        ("Biscuitville is far away.", False),
        ("Your dog is called Pixel.", False),
        ("It was Pixel, now it is Biscuit.", False),
        ("", False),
    ],
)
def test_words_decide(answer: str, accepted: bool) -> None:
    assert DOG.accepts(answer) is accepted


def test_every_group_of_expected_words_must_occur() -> None:
    probe = Probe("date", "assistant_said", "When?", (("9",), ("March", "Mar")))
    assert probe.accepts("On 9 March.")
    assert not probe.accepts("In March.")


def test_recall_is_the_share_of_right_answers() -> None:
    answers = [Answer(DOG, text) for text in ("Biscuit", "Pixel", "no idea", "It is Biscuit")]
    assert recall(answers) == 0.5
    assert recall([]) is None


def test_only_what_the_assistant_said_is_learnable() -> None:
    assert DOG.is_learnable
    assert not Probe("cat", "person_only", "Who?", (("Tom",),)).is_learnable


def test_probes_are_read_one_for_each_question(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    fact = {"id": "dog", "kind": "corrected", "expected": [["Biscuit"]], "outdated": ["Pixel"], "questions": ["a", "b"]}
    path.write_text(json.dumps({"facts": [fact]}), encoding="utf-8")
    first, second = load_probes(path)
    assert (first.question, second.question) == ("a", "b")
    assert first.expected == (("Biscuit",),)
    assert first.outdated == ("Pixel",)


def test_a_malformed_fact_is_named(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    path.write_text(json.dumps({"facts": [{"id": "dog", "kind": "corrected", "questions": ["a"]}]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"probes\.json: fact 0 lacks or misuses 'expected'$"):
        load_probes(path)
