"""Which words of two texts differ."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualchannel_site.desk.review import word_diff as word_diff_module
from dualchannel_site.desk.review.word_diff import Segment, word_diff

WORDS = st.lists(st.sampled_from(["dog", "cat", "Pixel", ".", ",", " ", "\n", "\t ", "é", "🐶", "a"]), max_size=30)
TEXTS = WORDS.map("".join) | st.text(max_size=60)


def words(segments: list[Segment], *, changed: bool) -> list[str]:
    return "".join(each.text if each.changed == changed else " " for each in segments).split()


def test_words_that_differ_are_marked_on_both_sides() -> None:
    assert word_diff("My dog is Pixel.", "My cat is Biscuit, I think.") == (
        [
            Segment("My ", False),
            Segment("dog", True),
            Segment(" is ", False),
            Segment("Pixel", True),
            Segment(".", False),
        ],
        [
            Segment("My ", False),
            Segment("cat", True),
            Segment(" is ", False),
            Segment("Biscuit, I think", True),
            Segment(".", False),
        ],
    )


@pytest.mark.parametrize(
    ("one", "other", "marked"),
    [
        ("Hello", "Hello there", ([], ["there"])),
        ("there", "Hello there", ([], ["Hello"])),
        ("same words", "same\n\nwords ", ([], [])),
        ("", "new", ([], ["new"])),
        ("old", "", (["old"], [])),
        ("", "", ([], [])),
        ("3.5", "3.6", (["5"], ["6"])),
    ],
)
def test_nothing_but_words_is_marked(one: str, other: str, marked: tuple[list[str], list[str]]) -> None:
    ours, theirs = word_diff(one, other)
    assert (words(ours, changed=True), words(theirs, changed=True)) == marked


@given(one=TEXTS, other=TEXTS)
def test_the_parts_are_the_texts_and_what_is_not_marked_is_the_same(one: str, other: str) -> None:
    ours, theirs = word_diff(one, other)
    assert "".join(each.text for each in ours) == one
    assert "".join(each.text for each in theirs) == other
    unmarked = ["".join(each.text for each in side if not each.changed) for side in (ours, theirs)]
    assert "".join(unmarked[0].split()) == "".join(unmarked[1].split())
    for side in (ours, theirs):
        assert all(each.text for each in side)
        assert all(left.changed != right.changed for left, right in pairwise(side))


@given(text=TEXTS)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    ours, theirs = word_diff(text, text)
    assert ours == theirs == ([Segment(text, False)] if text else [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog " * 20_000, "cat " * 20_000),
        ("a b " * 80_000, "b a " * 72_000 + "c"),
        (" ".join(map(str, range(20_000))), " ".join(map(str, range(20_000, 0, -1)))),
        ("x" * 200_000, "\n" * 200_000),
    ],
)
def test_texts_with_nothing_in_common_do_not_hold_up_a_page(one: str, other: str) -> None:
    began = time.process_time()
    ours, theirs = word_diff(one, other)
    # A search that nothing bounds takes from nine seconds to hours here.
    assert time.process_time() - began < 4
    assert ("".join(each.text for each in ours), "".join(each.text for each in theirs)) == (one, other)


def test_a_few_changes_in_a_long_text_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # However busy the machine is.
    monkeypatch.setattr(word_diff_module, "MOST_SECONDS", 60.0)
    long = [str(number) for number in range(20_000)]
    changed = [*long]
    for place in range(100, 20_000, 1_000):
        changed[place] = "changed"
    ours, theirs = word_diff(" ".join(long), " ".join(changed))
    assert words(ours, changed=True) == [str(place) for place in range(100, 20_000, 1_000)]
    assert words(theirs, changed=True) == ["changed"] * 20
