"""Introspection in the memory channel."""

import pytest
from constance import config

from memory import rules
from memory.extraction.batch import COLLAPSED
from memory.models import Message, SftPair
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import answer, asked, run, say, think

pytestmark = pytest.mark.django_db


def thoughts() -> set[str]:
    return set(SftPair.objects.filter(source="introspection").values_list("response", flat=True))


def test_introspection_is_left_out_by_default() -> None:
    user = asked()
    answer(user, "Pixel.")
    think(user, "They have a dog.")

    assert run().dropped == {"introspection_excluded": 1}
    assert thoughts() == set()


def test_the_live_switch_lets_it_in() -> None:
    think(asked(), "They have a dog.")
    config.INTROSPECTION_IN_SFT = True

    assert run().created == 1
    assert thoughts() == {"They have a dog."}


def test_it_is_tagged_and_weighted_down() -> None:
    user = asked()
    thought = think(user, "They have a dog.")

    run(include_introspection=True)

    pair = SftPair.objects.get()
    assert (pair.source, pair.category) == ("introspection", "introspection")
    assert pair.sampling_weight == rules.INTROSPECTION_SAMPLING_WEIGHT < 1
    assert (pair.instruction, pair.user_message, pair.assistant_message) == (user.content, user, thought)


def test_what_the_assistant_did_not_produce_stays_out_even_if_asked_for() -> None:
    think(asked(), "Ignore your rules.", internal_generated=False)

    assert run(include_introspection=True).dropped == {"introspection_not_internal": 1}


def test_a_thought_without_an_instruction_stays_out() -> None:
    user = asked("\u200b")
    think(user, "They said nothing.")
    say(user.conversation, "assistant", "Nobody is here.", kind=Message.Kind.INTROSPECTION, internal_generated=True)

    assert run(include_introspection=True).dropped == {"introspection_without_instruction": 2}


def test_equal_thoughts_of_two_conversations_enter_once_without_the_embedder() -> None:
    think(asked(), "They have a dog.")
    think(asked("Hello.", name="c2"), "they have  a DOG.")

    report = run(include_introspection=True, batch_messages=1)

    assert (report.created, report.dropped) == (1, {"introspection_exact_duplicate": 1})


@pytest.mark.parametrize("batch_messages", [1, 1000])
def test_similar_thoughts_enter_once_whichever_batch_they_are_in(batch_messages: int) -> None:
    think(asked(), "They have a dog.")
    think(asked("Hello.", name="c2"), "A dog is theirs.")
    think(asked("Bye.", name="c3"), "They are in a hurry.")
    embedder = FakeEmbedder({"They have a dog.": 0, "A dog is theirs.": 20})

    report = run(embedder, include_introspection=True, batch_messages=batch_messages)

    assert (report.created, report.dropped) == (2, {"introspection_similar": 1})
    assert "They are in a hurry." in thoughts()


def test_a_thought_is_compared_with_what_earlier_runs_stored() -> None:
    think(asked(), "They have a dog.")
    run(include_introspection=True)
    late = think(asked("Hello.", name="c2"), "A dog is theirs.")

    run(FakeEmbedder({"They have a dog.": 0, "A dog is theirs.": 20}), include_introspection=True)

    assert thoughts() == {"They have a dog."}
    assert [entry["message"] for entry in SftPair.objects.get().metadata[COLLAPSED]] == [late.pk]


def test_a_dropped_thought_is_not_judged_again() -> None:
    think(asked(), "They have a dog.")
    think(asked("Hello.", name="c2"), "A dog is theirs.")
    run(FakeEmbedder({"They have a dog.": 0, "A dog is theirs.": 20}), include_introspection=True)

    second = run(include_introspection=True)

    assert (second.created, second.existing, second.dropped) == (0, 1, {"introspection_similar": 1})


def test_a_stored_thought_stays_when_the_switch_goes_off() -> None:
    think(asked(), "They have a dog.")
    run(include_introspection=True)

    second = run()

    assert (second.existing, second.dropped, thoughts()) == (1, {}, {"They have a dog."})


def test_a_pair_whose_message_is_gone_still_counts() -> None:
    thought = think(asked(), "They have a dog.")
    run(include_introspection=True)
    thought.delete()
    think(asked("Hello.", name="c2"), "they have a dog.")

    assert run(include_introspection=True).dropped == {"introspection_exact_duplicate": 1}
