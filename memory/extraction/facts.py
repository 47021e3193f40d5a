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
_DIGIT = re.compile(r"\d")
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
_NO_NAMES_EITHER = _NO_NAMES | _DATE_WORDS | _NEGATIONS
# Facts that a description names of each text.
_NAMED_FACTS = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in one text: case-folded words, numbers in one spelling, and how often something is negated."""

    numbers: frozenset[str]
    names: frozenset[str]
    dates: frozenset[str]
    negations: int
    words: frozenset[str]

    def agree_with(self, other: Facts) -> bool:
        """Return whether neither has a fact that the other one lacks.

        A name is lacking only if the other text does not have the word in any case.
        """
        return (
            self.numbers == other.numbers
            and self.dates == other.dates
            and self.negations == other.negations
            and not self.names_lacking_in(other)
            and not other.names_lacking_in(self)
        )

    def names_lacking_in(self, other: Facts) -> frozenset[str]:
        """Return the names that the other text has neither as a name nor as any other word."""
        return self.names - other.words - other.names


def facts_in(text: str) -> Facts:
    """Return the facts in `text`."""
    plain = _LIST_MARKER.sub("", text)
    found = _WORD.findall(plain)
    # Most words come again and again; each is looked at once.
    folded = {word: _without_possessive(word).casefold() for word in set(found)}
    words = frozenset(folded.values())
    capitalised = {fold for word, fold in folded.items() if word[0].isupper()}
    named = {match.casefold() for match in _CALLED.findall(plain)}
    negated = {word for word, fold in folded.items() if fold in _NEGATIONS or fold.endswith("n't")}
    return Facts(
        numbers=_written_numbers(plain) | {_NUMBER_WORDS[word] for word in words & _NUMBER_WORDS.keys()},
        names=frozenset(
            word
            for word in capitalised | named
            if word.split("'")[0] not in _NO_NAMES_EITHER and word not in _NUMBER_WORDS
        ),
        dates=words & _DATE_WORDS,
        negations=sum(word in negated for word in found) if negated else 0,
        words=words,
    )


def differs_in_facts(first: str, second: str) -> bool:
    """Return whether one text has a number, name, date or negation that the other one lacks."""
    return not facts_in(first).agree_with(facts_in(second))


def difference_in_facts(first: str, second: str) -> str:
    """Return in words which facts one text has and the other one lacks; empty where they agree.

    Such as `names: Pixel / Biscuit; numbers: 3 / -`: what only `first` has, then what only `second` has, in the order
    in which it is said, names as they are written there.
    """
    one, other = facts_in(first), facts_in(second)
    sides = (
        ("names", one.names_lacking_in(other), other.names_lacking_in(one)),
        ("numbers", one.numbers - other.numbers, other.numbers - one.numbers),
        ("dates", one.dates - other.dates, other.dates - one.dates),
    )
    parts = [f"{kind}: {_told(mine, first)} / {_told(others, second)}" for kind, mine, others in sides if mine | others]
    if one.negations != other.negations:
        parts.append(f"negations: {one.negations} / {other.negations}")
    return "; ".join(parts)


def _told(facts: frozenset[str], text: str) -> str:
    """Return `facts` as `text` writes them; numbers that it spells in another way come last."""
    spelled: dict[str, str] = {}
    for word in map(_without_possessive, _WORD.findall(text)):
        spelled.setdefault(word.casefold(), word)
    told = [word for fold, word in spelled.items() if fold in facts] + sorted(facts - spelled.keys())
    return ", ".join([*told[:_NAMED_FACTS], "…"] if len(told) > _NAMED_FACTS else told) or "-"


def _written_numbers(text: str) -> frozenset[str]:
    if _DIGIT.search(text) is None:
        return frozenset()
    return frozenset(
        {_canonical(number) for number in _NUMBER.findall(text)}
        | {number.casefold() for number in _WORD_WITH_NUMBER.findall(text)}
    )


def _without_possessive(word: str) -> str:
    return word.replace("’", "'").removesuffix("'s")


def _canonical(number: str) -> str:
    digits = number.replace(",", "").replace("−", "-")
    if digits.count(".") > 1:
        return digits
    return format(Decimal(digits).normalize(), "f")
