"""Which words of two texts differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from diff_match_patch import diff_match_patch

# The search for the shortest difference grows with the square of its length: after this time the rest counts as
# changed. A thousand words that differ are found long before, however long the texts are.
MOST_SECONDS = 0.1

# A word or another character; white space, which belongs to what follows it.
_TOKEN = re.compile(r"\s*(\w+|[^\w\s]|\Z)")
# Characters stand for words, and what is a surrogate is no character by itself.
_FIRST_SURROGATE, _AFTER_SURROGATES = 0xD800, 0xE000


class Segment(NamedTuple):
    """A part of a text, and whether the other text lacks it."""

    text: str
    changed: bool


class _Search(diff_match_patch):  # type: ignore[misc]  # ships no types
    """The search of Myers (1986, doi 10.1007/BF01840446), without a shortcut that no time limits."""

    def diff_halfMatch(self, text1: str, text2: str) -> None:  # noqa: N802 - the library's name for it
        """Find nothing: where a text repeats itself, looking for a long common part takes seconds."""


def word_diff(one: str, other: str) -> tuple[list[Segment], list[Segment]]:
    """Return both texts in parts, which put together are the text; unchanged parts hold the same words in both.

    White space goes with the word after it: where nothing but that differs, nothing is marked.
    """
    search = _Search()
    search.Diff_Timeout = MOST_SECONDS
    tokens, other_tokens = _tokens(one), _tokens(other)
    known: dict[str, str] = {}
    differences = search.diff_main(_encoded(tokens, known), _encoded(other_tokens, known), False)
    return (
        _segments(tokens, [each for each in differences if each[0] != search.DIFF_INSERT]),
        _segments(other_tokens, [each for each in differences if each[0] != search.DIFF_DELETE]),
    )


def _tokens(text: str) -> list[re.Match[str]]:
    return list(_TOKEN.finditer(text))


def _encoded(tokens: Iterable[re.Match[str]], known: dict[str, str]) -> str:
    """Return a character for each token, the same one for the same word, so that the library can compare words."""
    return "".join(known.setdefault(token[1], _character(len(known))) for token in tokens)


def _character(number: int) -> str:
    return chr(number if number < _FIRST_SURROGATE else number + _AFTER_SURROGATES - _FIRST_SURROGATE)


def _segments(tokens: Sequence[re.Match[str]], operations: Iterable[tuple[int, str]]) -> list[Segment]:
    """Return one text in parts; `operations` say of how many tokens in turn whether the other text has them (0)."""
    parts: list[Segment] = []
    place = 0
    for operation, characters in operations:
        if not characters:
            continue
        first, last = tokens[place], tokens[place + len(characters) - 1]
        place += len(characters)
        # A mark begins at its first word.
        _add(parts, first.string[first.start() : first.start(1)], changed=False)
        _add(parts, first.string[first.start(1) : last.end()], changed=operation != diff_match_patch.DIFF_EQUAL)
    return parts


def _add(parts: list[Segment], text: str, *, changed: bool) -> None:
    if not text:
        return
    if parts and parts[-1].changed == changed:
        parts[-1] = Segment(parts[-1].text + text, changed)
    else:
        parts.append(Segment(text, changed))
