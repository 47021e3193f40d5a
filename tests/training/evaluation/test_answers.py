"""The answers that tell most of a run come first."""

from training.evaluation.answers import changed_answers, counts
from training.evaluation.probes import Answer, Probe


def answer(fact: str, text: str) -> Answer:
    return Answer(Probe(fact, "assistant_said", f"what is {fact}?", ((fact,),)), text)


def test_only_answers_with_other_words_are_changed() -> None:
    before = [answer("dog", "no idea"), answer("cat", "cat")]
    after = [answer("dog", "a dog"), answer("cat", "cat")]
    (change,) = changed_answers(before, after)
    assert (change.question, change.verdict) == ("what is dog?", "now right")


def test_the_verdict_tells_what_the_change_did() -> None:
    texts = {"now right": ("x", "dog"), "now wrong": ("dog", "x"), "still right": ("dog", "a dog"), "still wrong": "xy"}
    for verdict, (before, after) in texts.items():
        (change,) = changed_answers([answer("dog", before)], [answer("dog", after)])
        assert change.verdict == verdict


def test_what_became_wrong_is_not_hidden_behind_what_became_right() -> None:
    facts = ["a", "b", "c", "d"]
    before = [*(answer(fact, "?") for fact in facts), answer("e", "e"), answer("f", "?")]
    after = [*(answer(fact, fact) for fact in facts), answer("e", "?"), answer("f", "!")]
    verdicts = [change.verdict for change in changed_answers(before, after)]
    assert verdicts == ["now right", "now wrong", "now right", "now right", "now right", "still wrong"]


def test_every_fact_is_shown_once_before_any_is_shown_twice() -> None:
    facts = ["a", "a", "b", "c", "b"]
    changed = changed_answers([answer(fact, "?") for fact in facts], [answer(fact, fact) for fact in facts])
    assert [change.after.probe.fact for change in changed] == ["a", "b", "c", "a", "b"]


def test_the_counts_are_of_all_changes() -> None:
    before = [answer("a", "?"), answer("b", "?"), answer("c", "c"), answer("d", "?")]
    after = [answer("a", "a"), answer("b", "b"), answer("c", "?"), answer("d", "!")]
    assert counts(changed_answers(before, after)) == (
        "2 became right, 1 became wrong, 1 changed their words with the same verdict."
    )
