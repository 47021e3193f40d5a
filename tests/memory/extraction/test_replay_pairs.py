"""Preference pairs between answers that one prompt was given on different days."""

import pytest

from memory.extraction import replay_pairs
from memory.extraction.request import Selection
from memory.models import PreferencePair
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import answer, asked, rate, run, say

pytestmark = pytest.mark.django_db


def found() -> list[tuple[str, str, str, float, float]]:
    return list(PreferencePair.objects.values_list("source", "chosen", "rejected", "margin", "confidence"))


def test_the_better_rated_answer_of_another_day_is_preferred() -> None:
    best = rate(asked("Tell me a joke."), "A good one.", 1.0)
    worst = rate(asked("tell me a  joke.", name="c2"), "A bad one.", 0.25)

    report = run(FakeEmbedder())

    assert report.preference_pairs_created == 1
    assert found() == [("replay", "A good one.", "A bad one.", 0.75, 0.8)]
    pair = PreferencePair.objects.get()
    assert (pair.chosen_message, pair.rejected_message, pair.conversation) == (best, worst, best.conversation)
    assert pair.prompt == [{"role": "user", "content": "Tell me a joke."}]


def test_what_is_paired_already_is_not_compared_again() -> None:
    rate(asked("Tell me a joke."), "here is one", 1.0)
    rate(asked("Tell me a joke.", name="c2"), "there is another", 0.0)
    assert run(FakeEmbedder()).preference_pairs_created == 1

    assert run().preference_pairs_created == 0


@pytest.mark.parametrize(("worse", "count"), [(0.7, 1), (0.71, 0)])
def test_rewards_have_to_differ_by_the_margin(worse: float, count: int) -> None:
    rate(asked("Tell me a joke."), "A good one.", 1.0)
    rate(asked("Tell me a joke.", name="c2"), "A bad one.", worse)

    assert run(FakeEmbedder()).preference_pairs_created == count


def test_the_same_words_after_another_dialogue_are_another_prompt() -> None:
    for name, reward in (("c1", 1.0), ("c2", 0.0)):
        first = asked(f"Tell me the story of {name}.", name=name)
        rate(say(first.conversation, "user", "Go on.", answer(first, "Once.")), f"And then {name}.", reward)

    assert run(FakeEmbedder()).preference_pairs_created == 0


def test_near_identical_answers_are_dropped() -> None:
    rate(asked("Tell me a joke."), "here is one", 1.0)
    rate(asked("Tell me a joke.", name="c2"), "one is here", 0.0)

    report = run(FakeEmbedder({"here is one": 0, "one is here": 10}))

    assert (report.preference_pairs_created, report.dropped) == (0, {"preference_near_identical": 1})


def test_conversations_without_consent_are_left_out_even_if_they_were_replayed_before() -> None:
    best = rate(asked("Tell me a joke."), "A good one.", 1.0)
    run()
    best.conversation.training_allowed = False
    best.conversation.save()
    rate(asked("Tell me a joke.", name="c2"), "A bad one.", 0.0)

    assert run(FakeEmbedder()).preference_pairs_created == 0


def test_a_selection_pairs_its_own_prompts_with_the_whole_buffer() -> None:
    for prompt in ("Tell me a joke.", "Tell me a story."):
        rate(asked(prompt, name=f"{prompt} good"), f"Good: {prompt}", 1.0)
    run()
    for prompt in ("Tell me a joke.", "Tell me a story."):
        late = rate(asked(prompt, name=f"{prompt} bad"), f"Bad, {prompt}", 0.0)

    run(FakeEmbedder(), selection=Selection(conversation_id=late.conversation_id))

    assert [chosen for _, chosen, *_ in found()] == ["Good: Tell me a story."]


def test_more_prompts_than_fit_a_transaction_are_all_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_pairs, "PROMPTS", 2)
    for number in range(5):
        rate(asked(f"Question {number}?", name=f"good{number}"), f"Good {number}.", 1.0)
        rate(asked(f"Question {number}?", name=f"bad{number}"), f"Bad {number}.", 0.0)

    assert run(FakeEmbedder()).preference_pairs_created == 5
