"""Pairing of answers with the user message that they answer."""

import random
import sys
from collections.abc import Sequence
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.extraction.turns import MAX_CONTEXT_MESSAGES, MessageTree, TurnMessage
from memory.text import content_hash
from tests.memory.extraction.messages import message, thought


def paired(messages: Sequence[TurnMessage]) -> dict[int, list[int]]:
    return {turn.user.id: [answer.id for answer in turn.answers] for turn in MessageTree(messages).turns()}


def chain(*roles: str) -> list[TurnMessage]:
    return [message(key, role, parent=key - 1 or None) for key, role in enumerate(roles, start=1)]


def test_an_answer_pairs_with_the_most_recent_user_message() -> None:
    assert paired(chain("user", "assistant", "user", "assistant")) == {1: [2], 3: [4]}


def test_of_two_user_messages_in_a_row_the_later_one_is_answered() -> None:
    assert paired(chain("user", "user", "assistant")) == {2: [3]}


def test_chained_answers_all_pair_with_the_one_user_message() -> None:
    assert paired(chain("user", "assistant", "assistant", "assistant")) == {1: [2, 3, 4]}


def test_sibling_answers_all_pair_with_their_user_message() -> None:
    tree = [message(1, "user"), message(2, parent=1), message(3, parent=1), message(4, parent=1)]

    assert paired(tree) == {1: [2, 3, 4]}


def test_each_branch_keeps_its_own_user_message() -> None:
    tree = [
        message(1, "user"),
        message(2, parent=1),
        message(3, "user", parent=2),  # asked
        message(4, "user", parent=2),  # asked again in other words
        message(5, parent=3),
        message(6, parent=4),
    ]

    assert paired(tree) == {1: [2], 3: [5], 4: [6]}


def test_an_answer_before_any_user_message_gives_no_pair() -> None:
    tree = MessageTree(chain("assistant", "system", "assistant", "user", "assistant"))

    assert [turn.user.id for turn in tree.turns()] == [4]
    assert [answer.id for answer in tree.without_instruction()] == [1, 3]


def test_the_way_up_leads_through_tools_system_messages_and_thoughts() -> None:
    tree = [
        message(1, "user"),
        thought(2, parent=1),
        message(3, "tool", parent=2),
        message(4, "system", parent=3),
        message(5, parent=4),
    ]
    (turn,) = MessageTree(tree).turns()

    assert (turn.user.id, [answer.id for answer in turn.answers]) == (1, [5])
    assert [each.id for each in turn.thoughts] == [2]


def test_a_thought_beside_an_answer_belongs_to_the_turn_but_is_no_answer() -> None:
    (turn,) = MessageTree([message(1, "user"), thought(2, parent=1), message(3, parent=1)]).turns()

    assert [answer.id for answer in turn.answers] == [3]
    assert [each.id for each in turn.thoughts] == [2]


def test_introspection_in_the_person_s_role_is_no_instruction() -> None:
    tree = [message(1, "user"), message(2, "user", parent=1, kind="introspection"), message(3, parent=2)]

    assert paired(tree) == {1: [3]}


def test_a_missing_parent_ends_the_way_up() -> None:
    assert paired([message(1, "user"), message(2, parent=99)]) == {}


def test_a_circle_of_parents_ends_the_way_up() -> None:
    tree = MessageTree([message(1, parent=3), message(2, parent=1), message(3, parent=2), message(4, parent=4)])

    assert tree.turns() == []
    assert [answer.id for answer in tree.without_instruction()] == [1, 2, 3, 4]


def test_a_user_message_within_a_circle_is_still_found() -> None:
    circle = [message(1, "user", parent=3), message(2, parent=1), message(3, parent=2)]

    assert paired(circle) == {1: [2, 3]}
    assert MessageTree(circle).context(circle[0]) == [
        {"role": "assistant", "content": "assistant says 2"},
        {"role": "assistant", "content": "assistant says 3"},
    ]


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), st.integers(1, 12)), max_size=12))
def test_pairing_does_not_depend_on_the_order_of_messages_whatever_their_parents(nodes: list[tuple[str, int]]) -> None:
    tree = [message(key, role, parent=parent) for key, (role, parent) in enumerate(nodes, start=1)]
    shuffled = random.Random(0).sample(tree, len(tree))

    assert {key: set(found) for key, found in paired(tree).items()} == {
        key: set(found) for key, found in paired(shuffled).items()
    }


@given(st.lists(st.sampled_from(["user", "assistant", "system", "tool"]), max_size=30))
def test_every_answer_is_paired_once_or_stands_before_any_user_message(roles: list[str]) -> None:
    messages = chain(*roles)
    tree = MessageTree(messages)
    found = [answer.id for turn in tree.turns() for answer in turn.answers]
    found += [answer.id for answer in tree.without_instruction()]

    assert sorted(found) == [each.id for each in messages if each.role == "assistant"]


def test_ten_times_as_long_a_chain_takes_about_ten_times_the_steps() -> None:
    def calls(length: int) -> int:
        # Answers alone after the first message: the walk that would be quadratic.
        messages = chain("user", *["assistant"] * length)
        counted = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            MessageTree(messages).turns()
        finally:
            sys.setprofile(None)
        return counted

    # Quadratic work would make it a hundred times.
    assert 0 < calls(3_000) < 15 * calls(300)


def test_the_context_is_the_dialogue_before_the_instruction_on_its_branch() -> None:
    tree = [
        message(1, "system"),
        message(2, "user", parent=1),
        thought(3, parent=2),
        message(4, "tool", parent=3),
        message(5, parent=4),
        message(6, parent=2),  # left behind
        message(7, "user", parent=5),
        message(8, parent=7),
    ]

    assert MessageTree(tree).context(tree[6]) == [
        {"role": "system", "content": "system says 1"},
        {"role": "user", "content": "user says 2"},
        {"role": "assistant", "content": "assistant says 5"},
    ]


def test_the_context_keeps_the_last_messages_up_to_its_limit() -> None:
    messages = chain(*["user", "assistant"] * 100, "user")
    tree = MessageTree(messages)

    assert len(tree.context(messages[-1])) == MAX_CONTEXT_MESSAGES
    assert [each["content"] for each in tree.context(messages[-1], limit=2)] == ["user says 199", "assistant says 200"]


def test_the_prompt_hash_of_a_first_message_is_that_of_its_text() -> None:
    messages = [message(1, "system"), message(2, "user", parent=1, content="Hello?")]

    assert MessageTree(messages).prompt_hash(messages[1]) == content_hash("hello?")


@pytest.mark.parametrize("opening", ["Tell me a story.", "Write a poem."])
def test_the_prompt_hash_is_the_same_only_after_the_same_dialogue(opening: str) -> None:
    def continued(first: str) -> str:
        messages = chain("user", "assistant", "user")
        told = [message(1, "user", content=first), *messages[1:]]
        return MessageTree(told).prompt_hash(told[-1])

    assert (continued(opening) == continued("Tell me a story.")) is (opening == "Tell me a story.")


def test_asking_for_prompt_hashes_in_any_order_gives_the_same_hashes() -> None:
    messages = chain(*["user", "assistant"] * 5)
    users = messages[::2]
    forwards, backwards = MessageTree(messages), MessageTree(messages)

    assert [forwards.prompt_hash(user) for user in users] == [backwards.prompt_hash(user) for user in users[::-1]][::-1]
