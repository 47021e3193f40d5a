"""Facts that one text has and another lacks."""

import pytest

from memory.extraction.facts import difference_in_facts, differs_in_facts

DIFFERENT = [
    ("My dog is called Pixel.", "My dog is called Biscuit."),
    ("my dog is called pixel", "my dog is called biscuit"),
    ("Pixel is my dog.", "Biscuit is my dog."),  # at the beginning of a sentence
    ("It is 5 degrees outside.", "It is -5 degrees outside."),
    ("That costs 3.50.", "That costs 35.0."),
    ("I have three cats.", "I have four cats."),
    ("Use version 3.5.2.", "Use version 3.5.3."),
    ("Use gpt4 for this.", "Use gpt5 for this."),
    ("Take v3.5.2 of it.", "Take v3.5.3 of it."),
    ("The meeting is on 2024-05-01.", "The meeting is on 2024-05-02."),
    ("the meeting is on monday", "the meeting is on friday"),
    ("She was born in March.", "She was born in May."),
    ("You can take it with milk.", "You cannot take it with milk."),
    ("You can take it.", "You can’t take it."),
    ("I do like it.", "I do not like it."),
    ("Never do that.", "Do that."),
    ("It is not so, and not now.", "It is not so, and now."),
    ("I flew to Rome.", "I flew to Rome with Anna."),
]
ALIKE = [
    ("Sure! The dog sleeps.", "Certainly, the dog sleeps."),
    ("I have 1,000.0 coins.", "I have 1000 coins."),
    ("I have three cats.", "I have 3 cats."),
    ("1. Eat\n2. Sleep", "- Eat\n- Sleep"),  # numbers that only count the points
    ("Pixel's ball is red.", "The red ball of Pixel."),
    ("my dog Pixel", "My dog pixel"),
    ("I'm glad. It's warm.", "I’m glad, it’s warm."),
    ("You can't go.", "You can’t go."),
    ("He is called O'Neil.", "He is called O'Neil."),  # half of a word is called a name
    ("", ""),
]
DESCRIBED = [
    ("My dog is called Pixel.", "My dog is called Biscuit.", "names: Pixel / Biscuit"),
    ("my dog is called pixel", "MY DOG IS BIG", "names: pixel / BIG"),
    ("Pixel’s ball is in Rome, and Anna and Bea are there.", "so it is", "names: Pixel, Rome, Anna, … / -"),
    ("I have three cats and 1,000 coins.", "I have 4 cats and 1000 coins.", "numbers: 3 / 4"),
    ("it has 12, v3 and 5 of it", "it has v4 of it", "numbers: 12, v3, 5 / v4"),
    ("on Monday", "on friday", "dates: Monday / friday"),
    ("I do not like it.", "I like it.", "negations: 1 / 0"),
    ("It's 3 for Rex, not 4.", "It's 4.", "names: Rex / -; numbers: 3 / -; negations: 1 / 0"),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_texts_with_different_facts_differ_both_ways(first: str, second: str) -> None:
    assert differs_in_facts(first, second) is True
    assert differs_in_facts(second, first) is True


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_texts_with_the_same_facts_do_not_differ_either_way(first: str, second: str) -> None:
    assert differs_in_facts(first, second) is False
    assert differs_in_facts(second, first) is False


@pytest.mark.parametrize(("first", "second", "words"), DESCRIBED)
def test_a_difference_in_facts_is_told_in_words(first: str, second: str, words: str) -> None:
    assert difference_in_facts(first, second) == words


@pytest.mark.parametrize(("first", "second"), [*DIFFERENT, *ALIKE])
def test_there_is_a_difference_to_tell_just_where_facts_differ(first: str, second: str) -> None:
    assert bool(difference_in_facts(first, second)) is differs_in_facts(first, second)
