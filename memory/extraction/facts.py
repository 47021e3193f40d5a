"""The facts of a text that nothing else can stand for: numbers, names, dates, negations.

Two sentences can have almost the same vector and contradict each other ("my dog is called Pixel", "my dog is called
Biscuit"). English words are known here, and too much is taken for a fact rather than too little: a difference that
is none costs a person a look, one that is overlooked costs a fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)*")
_WORD_WITH_NUMBER = re.compile(r"\b[^\W\d]+\d\w*(?:\.\d\w*)*")
# "1." at the start of a line counts the points of an answer, and says nothing itself.
_LIST_MARKER = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_CALLED = re.compile(r"\b(?:called|named|name is|name['’]s)\s+[\"'“‘*_]*(\w+)", re.IGNORECASE)


def _words(text: str) -> list[str]:
    return text.split()


_UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_NUMBER_WORDS = {
    **{word: str(value) for value, word in enumerate(_UNITS)},
    **{word: str(10 * value) for value, word in enumerate(_TENS, start=2)},
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
}
# "This one" counts nothing.
del _NUMBER_WORDS["one"]

_DATE_WORDS = frozenset(
    _words(
        "january february april june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday tonight"
    )
)
_NEGATIONS = frozenset(
    _words("no not never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt wont isnt arent")
)
# Words that are capitalised without being names: they open sentences, or English always writes them so.
_NO_NAMES = frozenset(
    _words("""
    a about absolutely actually after all also although always an and another any are as at be because before
    both but by can certainly could did do does each either enjoy every finally first for from glad good great
    had happy has have he hello hence her here hey hi his how however i if in indeed is it its just last later
    let like many maybe me more most much my next now of often oh ok okay on once one only or other our overall
    perhaps please remember right second she should similarly since so some sometimes soon sorry still such sure
    thank thanks that the their then there therefore these they this those though thus to too try under
    understood until use very was we well were what when where whether which while who why will with would yeah
    yes yet you your
    """)
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in one text: case-folded words, numbers in one spelling, and how often something is negated."""

    numbers: frozenset[str]
    names: frozenset[str]
    dates: frozenset[str]
    negations: int
    words: frozenset[str]


def facts_in(text: str) -> Facts:
    """Return the facts in `text`."""
    plain = _LIST_MARKER.sub("", text)
    written = [_without_possessive(word) for word in _WORD.findall(plain)]
    words = [word.casefold() for word in written]
    capitalised = {word.casefold() for word in written if word[0].isupper()}
    named = {match.casefold() for match in _CALLED.findall(plain)}
    return Facts(
        numbers=frozenset(
            {_canonical(number) for number in _NUMBER.findall(plain)}
            | {number.casefold() for number in _WORD_WITH_NUMBER.findall(plain)}
            | {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS}
        ),
        names=frozenset(
            word
            for word in capitalised | named
            if word.split("'")[0] not in _NO_NAMES | _DATE_WORDS | _NEGATIONS and word not in _NUMBER_WORDS
        ),
        dates=frozenset(words) & _DATE_WORDS,
        negations=sum(word in _NEGATIONS or word.endswith("n't") for word in words),
        words=frozenset(words),
    )


def differs_in_facts(first: str, second: str) -> bool:
    """Return whether one text has a number, name, date or negation that the other one lacks.

    A name is lacking only if the other text does not have the word in any case.
    """
    one, other = facts_in(first), facts_in(second)
    return (
        one.numbers != other.numbers
        or one.dates != other.dates
        or one.negations != other.negations
        or not one.names <= other.words
        or not other.names <= one.words
    )


def _without_possessive(word: str) -> str:
    return word.replace("’", "'").removesuffix("'s")


def _canonical(number: str) -> str:
    digits = number.replace(",", "").replace("−", "-")
    if digits.count(".") > 1:
        return digits
    return format(Decimal(digits).normalize(), "f")
