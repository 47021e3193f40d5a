"""The facts of a text that nothing else can stand for: numbers, names, dates, negations.

Two sentences can have almost the same vector and contradict each other ("my dog is called Pixel", "my dog is called
Biscuit"), also where the words are the same ("Alice is taller than Bob", "Bob is taller than Alice"). English words are
known here, and too much is taken for a fact rather than too little: a difference that is none costs a person a look,
one that is overlooked costs a fact.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile, zip_longest
from operator import itemgetter
from typing import NamedTuple

# A word, or a mark that ends what a negation can reach.
_MARKS = frozenset(".,;:!?\n")
_WORD = re.compile(r"\w+(?:['’]\w+)*|[.,;:!?\n]")
_FRACTIONS = "¼-¾⅐-⅞"
_DIGIT = re.compile(rf"[\d{_FRACTIONS}]")
# "1." at the start of a line counts the points of an answer, and says nothing itself, unless it is the only one.
_LIST_MARKER = re.compile(r"^[^\S\n]*\d+[.)]\s", re.MULTILINE)
_CALLED = re.compile(r"\b(?:called|named|name is|name['’]s)\s+[\"'“‘*_]*(\w+(?:['’]\w+)*)", re.IGNORECASE)


def _words(text: str) -> list[str]:
    return text.split()


_UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_TH = _words("fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
_NUMBER_WORDS = {
    **{word: str(value) for value, word in enumerate(_UNITS)},
    **{word: str(10 * value) for value, word in enumerate(_TENS, start=2)},
    **{word: f"{value} th" for value, word in enumerate(_TH, start=4)},
    "third": "3 rd",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "trillion": "1000000000000",
    "dozen": "12",
    "half": "0.5",
    "quarter": "0.25",
    "twice": "2 times",
    "thrice": "3 times",
}
# "This one" counts nothing.
del _NUMBER_WORDS["one"]
# "A second" is a time, "first" and "once" open sentences: they count only beside certain words.
_COUNTED_BESIDE = {"once": "1 times", "first": "1 st", "second": "2 nd"}
_COUNTING_WORDS = {**_NUMBER_WORDS, **_COUNTED_BESIDE}
_NO_SECOND = "".join(rf"(?<!\b{word}[ -])" for word in _words("a one per each every split this last"))
# Most words are told from all of these by their first letter, and a guard in front saves half of the time.
_INITIALS = "".join(sorted({letter for word in _COUNTING_WORDS for letter in (word[0], word[0].upper())}))
_NUMBER = re.compile(
    rf"""
    (?=[-−\d$€£¥{_FRACTIONS}]) (?:([$€£¥])\ ?)? (?<![\w.]) ([-−]?\d(?:[\d,]*\d)?(?:\.\d+)*|[{_FRACTIONS}])
    | \b(?=[^\W\d]) (?:
      ([^\W\d]++\d\w*(?:\.\d\w*)*)
      | (?=[{_INITIALS}])
        (?ai: ( {"|".join(_NUMBER_WORDS)}
             | once(?=\ (?:an?|per|every|each)\b)
             | (?<=\w\ )first(?!\ of\ all\b)
             | (?<=[^\W\d]\ ){_NO_SECOND}second )) \b
    )
    """,
    re.VERBOSE,
)
_MINUS = re.compile(r"\bminus $", re.IGNORECASE)
# A comma between thousands, but not one before decimals.
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
# What a price or a speed is for: "$10 a month", "60 km/h".
_RATE = r"(?:\ (?:an?|per|every|each)\ |\ ?/\ ?)([^\W\d_]+)"
_PRICED = re.compile(_RATE, re.IGNORECASE)
# What is counted, and in what: "10am", "10 a.m.", "5-km", "**3** cats", "20 °C", "5%", "twice a day", "2 times a day".
_COUNTED = re.compile(
    rf"""
    [*_]*+ (?:[ \t\xa0]++|-)?+ [*_]*+ (?:(?:of\ (?:the|an?)|of|an?|per|every|each)\ |/\ ?)? °?
    ([ap]\.m\b|[%€$£¥]|[^\W\d_]\w*(?:['’]\w+)*) (?:{_RATE})?
    """,
    re.IGNORECASE | re.VERBOSE,
)

_DATE_WORDS = frozenset(
    _words(
        "january february april june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday tonight ago "
        "morning noon afternoon evening night midnight"
    )
)
# What is a date only beside one of the words that say which: "next week". Those say which Monday, too.
_PERIODS = frozenset(_words("day week weekend month year spring summer autumn fall winter"))
_WHICH = frozenset(_words("this last next previous coming past before after"))
_NEGATIONS = frozenset(
    _words("no not never none nobody nothing nowhere neither nor without cannot cant dont doesnt didnt wont isnt arent")
)
# Words without which what is negated is the same.
_SKIPPED = _NEGATIONS | frozenset(
    _words("a an the any my your his her its our their very really so too to that this or of in on at for be do")
)
# A negation reaches at most so many words that are not skipped, and none beyond one of these.
_REACH = 6
_REACH_ENDS = _MARKS | frozenset(_words("but and because if when while though although"))
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
_NO_NAMES_EITHER = _NO_NAMES | _DATE_WORDS | _NEGATIONS | _NUMBER_WORDS.keys() | {"am", "pm"}
# Words after a number that are not what it counts. Those that are capitalised are names already.
_NOT_COUNTED = _NO_NAMES | _DATE_WORDS | frozenset(_words("down during each into march may out per than through up us"))
# Facts that a description names of each text.
_NAMED_FACTS = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found in one text, case-folded, each in the order of the text.

    Attributes:
        numbers: in one spelling, with what they count: `3 cats`, `10 am`.
        names: said once where one is said several times in a row.
        dates: likewise; times of day, too.
        negated: the words that each negation reaches; empty where there are none.
        words: all words.

    """

    numbers: tuple[str, ...]
    names: tuple[str, ...]
    dates: tuple[str, ...]
    negated: tuple[str, ...]
    words: frozenset[str]

    def agree_with(self, other: Facts) -> bool:
        """Return whether neither has a fact that the other one lacks, or has in another place.

        A name is lacking only if the other text does not have the word in any case.
        """
        return (
            (self.numbers, self.dates, self.negated) == (other.numbers, other.dates, other.negated)
            and not self.names_lacking_in(other)
            and not other.names_lacking_in(self)
            and self.names_shared_with(other) == other.names_shared_with(self)
        )

    def names_lacking_in(self, other: Facts) -> frozenset[str]:
        """Return the names that the other text has neither as a name nor as any other word."""
        return frozenset(self.names) - other.words

    def names_shared_with(self, other: Facts) -> tuple[str, ...]:
        """Return the names that the other text writes as names, too, in the order of this one."""
        shared = {*self.names} & {*other.names}
        return tuple(name for name, _ in groupby(name for name in self.names if name in shared))


def facts_in(text: str) -> Facts:
    """Return the facts in `text`."""
    told = _told_in(text)
    numbers, names, dates, negated = (
        tuple(said.fact for said in each) for each in (told.numbers, told.names, told.dates, told.negated)
    )
    return Facts(numbers, names, dates, negated, told.words)


def differs_in_facts(first: str, second: str) -> bool:
    """Return whether one text has a number, name, date or negation that the other one lacks or has elsewhere."""
    return not facts_in(first).agree_with(facts_in(second))


def difference_in_facts(first: str, second: str) -> str:
    """Return in words which facts one text has and the other one lacks or has elsewhere; empty where they agree.

    Such as `names: Pixel / Biscuit; numbers: 3 cats / -`: what only `first` has, then what only `second` has, in the
    order in which it is said and as it is written there. Where nothing but the order differs, `order of names: Alice,
    Bob / Bob, Alice`.
    """
    mine, others = _told_in(first), _told_in(second)
    parts = (
        _difference_in_names(mine, others),
        _difference("numbers", mine.numbers, others.numbers),
        _difference("dates", mine.dates, others.dates),
        _difference("negations", mine.negated, others.negated),
    )
    return "; ".join(filter(None, parts))


class _Said(NamedTuple):
    """A fact in its one spelling, and as the text writes it."""

    fact: str
    written: str


class _Told(NamedTuple):
    """What a text tells: its facts in the order of the text, as `Facts` has them, and all of its words."""

    numbers: Sequence[_Said]
    names: Sequence[_Said]
    dates: Sequence[_Said]
    negated: Sequence[_Said]
    words: frozenset[str]


def _told_in(text: str) -> _Told:
    unmarked, markers = _LIST_MARKER.subn("", text)
    plain = unmarked if markers > 1 else text
    found = _WORD.findall(plain)
    # Most words come again and again; each is looked at once.
    folded = {word: _folded(word) for word in set(found)}
    words = frozenset(folded.values())
    called = {_folded(match) for match in _CALLED.findall(plain)}
    names = {
        word: _Said(fold, _without_possessive(word))
        for word, fold in folded.items()
        if (word[0].isupper() or fold in called) and fold.split("'")[0] not in _NO_NAMES_EITHER
    }
    is_counted = _DIGIT.search(plain) is not None or not words.isdisjoint(_COUNTING_WORDS.keys())
    return _Told(
        numbers=list(_numbers_in(plain)) if is_counted else (),
        names=_without_repeats([names[word] for word in found if word in names]) if names else (),
        dates=_without_repeats(list(_dates_in(found, folded))),
        negated=_negated_in(found, folded),
        words=words,
    )


def _numbers_in(text: str) -> Iterator[_Said]:
    """Yield the numbers of a text with what they count."""
    for match in _NUMBER.finditer(text):
        currency, digits, name, word = match.groups()
        if name is not None:
            yield _Said(name.casefold(), name)
            continue
        start, end, counted = match.start(), match.end(), currency or ""
        after = (_PRICED if currency else _COUNTED).match(text, end)
        said = () if after is None else tuple(takewhile(_counts, filter(None, after.groups())))
        if after is not None and said:
            end = after.end(len(said))
            counted = " ".join((*filter(None, [currency]), *(_folded(each).replace(".", "") for each in said)))
        number = _canonical(digits) if digits else _COUNTING_WORDS[word.casefold()]
        if minus := _MINUS.search(text, max(start - len("minus "), 0), start):
            start, number = minus.start(), f"-{number}"
        yield _Said(f"{number} {counted}".rstrip(), " ".join(text[start:end].split()))


def _counts(word: str) -> bool:
    """Return whether a word after a number may be what is counted: no word that ties others, and no name."""
    return _folded(word) not in _NOT_COUNTED and not (len(word) > 1 and word.istitle())


def _dates_in(found: Sequence[str], folded: Mapping[str, str]) -> Iterator[_Said]:
    """Yield the dates and times of day with the word that says which; a greeting is neither."""
    dated = {word for word, fold in folded.items() if fold in _DATE_WORDS or fold in _PERIODS}
    for before, word in pairwise(("", *found)) if dated else ():
        if word not in dated:
            continue
        fold, which = folded[word], folded.get(before, "")
        if which in _WHICH:
            yield _Said(f"{which} {fold}", f"{before} {word}")
        elif fold in _DATE_WORDS and which != "good":
            yield _Said(fold, word)


def _negated_in(found: Sequence[str], folded: Mapping[str, str]) -> list[_Said]:
    """Return what each negation reaches, none where a mark or "but" follows at once."""
    negations = {word for word, fold in folded.items() if fold in _NEGATIONS or fold.endswith("n't")}
    negated: list[_Said] = []
    after: tuple[str, ...] = ()
    for word in reversed(found) if negations else ():
        fold = folded[word]
        if word in negations:
            negated.append(_Said(" ".join(folded[each] for each in after), " ".join((word, *after))))
        elif fold in _REACH_ENDS:
            after = ()
        elif fold not in _SKIPPED:
            after = (word, *after[: _REACH - 1])
    return negated[::-1]


def _difference_in_names(mine: _Told, others: _Told) -> str:
    lacking = [said for said in mine.names if said.fact not in others.words]
    others_lacking = [said for said in others.names if said.fact not in mine.words]
    if lacking or others_lacking:
        return _sides("names", _once(lacking), _once(others_lacking))
    shared = {said.fact for said in mine.names} & {said.fact for said in others.names}
    one, other = (_without_repeats([said for said in each.names if said.fact in shared]) for each in (mine, others))
    return _difference_in_order("names", one, other)


def _difference(kind: str, mine: Sequence[_Said], others: Sequence[_Said]) -> str:
    one, other = (Counter(said.fact for said in each) for each in (mine, others))
    more, less = one - other, other - one
    if not more and not less:
        return _difference_in_order(kind, mine, others)
    return _sides(
        kind, _once([said for said in mine if said.fact in more]), _once([said for said in others if said.fact in less])
    )


def _difference_in_order(kind: str, mine: Sequence[_Said], others: Sequence[_Said]) -> str:
    """Return what both say in another order, from the last thing that is the same; empty where all is."""
    pairs = zip_longest([said.fact for said in mine], [said.fact for said in others])
    place = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
    if place is None:
        return ""
    start = max(place - 1, 0)
    return _sides(f"order of {kind}", *([said.written for said in each[start:]] for each in (mine, others)))


def _sides(kind: str, mine: Sequence[str], others: Sequence[str]) -> str:
    one, other = (
        ", ".join([*each[:_NAMED_FACTS], "…"] if len(each) > _NAMED_FACTS else each) or "-" for each in (mine, others)
    )
    return f"{kind}: {one} / {other}"


def _once(said: Sequence[_Said]) -> list[str]:
    """Return how each fact is written where it is said first."""
    written: dict[str, str] = {}
    for each in said:
        written.setdefault(each.fact, each.written)
    return list(written.values())


def _without_repeats(said: Sequence[_Said]) -> list[_Said]:
    """Return each said once where it is said several times in a row."""
    return [next(same) for _, same in groupby(said, key=itemgetter(0))]


def _without_possessive(word: str) -> str:
    return word.replace("’", "'").removesuffix("'s")


def _folded(word: str) -> str:
    return _without_possessive(word).casefold()


def _canonical(number: str) -> str:
    """Return a number in one spelling, as it is written where that can tell: "3.10" is no "3.1", "0420" no "420"."""
    if not number[-1].isdecimal():
        return str(unicodedata.numeric(number))
    whole, _, fraction = _THOUSANDS.sub("", number).replace("−", "-").partition(".")
    if fraction.strip("0") or len(fraction) > 2:
        return f"{whole}.{fraction}"
    return whole[1] if len(whole) == 2 and whole[0] == "0" else whole
