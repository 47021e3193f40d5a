"""Reasoning that hides in the text of an answer, told apart from the answer."""

import html
import re
from dataclasses import dataclass

from memory.text import trimmed

_TAGS = "think|thinking|thought|thoughts|reason|reasoning"

# What an answer holds besides its words. Code comes first, so that a tag that is only quoted in code stays there.
_HIDDEN = re.compile(
    rf"""
    (?P<code> ```.*?``` | `[^`\n]+` )
    | <(?P<tag> {_TAGS} )(?:\s[^>]*)?> (?P<body> .*? ) (?: </(?P=tag)\s*> | \Z )
    | <\|begin_of_thought\|> (?P<thought> .*? ) (?: <\|end_of_thought\|> | \Z )
    | <details\s[^>]*?type=["']?(?P<kind> reasoning | tool_calls | code_interpreter )\b[^>]*>
      (?P<details> .*? ) (?: </details\s*> | \Z )
    | ^:::thinking[^\n]*\n (?P<fence> .*? ) (?: ^:::[ \t]*$ | \Z )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
# A template that opens the block in the prompt leaves only its end in the answer.
_STRAY_END = re.compile(rf"(?P<code>```.*?```|`[^`\n]+`)|</(?:{_TAGS})\s*>", re.DOTALL | re.IGNORECASE)
# One of these stands in every text with a hidden part; looking for it costs less than the patterns above.
_MARK = re.compile(rf"</?(?:{_TAGS})\b|<details\b|<\|begin_of_thought|^:::thinking", re.IGNORECASE | re.MULTILINE)
_SUMMARY = re.compile(r"<summary\b.*?</summary\s*>", re.DOTALL | re.IGNORECASE)
_QUOTE = re.compile(r"^> ?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Split:
    """An answer, and the reasoning that stood in it; either may be empty."""

    answer: str
    reasoning: str


def split(text: str) -> Split:
    """Return the answer in `text` apart from the reasoning; a block that is never closed reaches to the end.

    Tool calls that a front end wrote into the text are left out of both. Text without any of this comes back
    unchanged.
    """
    if ("<" not in text and ":::" not in text) or _MARK.search(text) is None:
        return Split(text, "")
    found: list[str] = []

    def cut(match: re.Match[str]) -> str:
        if match["code"] is not None:
            return match[0]
        if match["details"] is not None:
            if match["kind"].casefold() == "reasoning":
                found.append(_QUOTE.sub("", html.unescape(_SUMMARY.sub("", match["details"]))))
        else:
            found.append(match["body"] or match["thought"] or match["fence"] or "")
        return ""

    answer = _HIDDEN.sub(cut, text)
    ends = [match for match in _STRAY_END.finditer(answer) if match["code"] is None]
    if ends:
        before, answer = answer[: ends[-1].start()], answer[ends[-1].end() :]
        found.append(_STRAY_END.sub(lambda match: match["code"] or "", before))
    if answer == text:
        return Split(text, "")
    return Split(trimmed(answer), joined(found))


def joined(parts: list[str]) -> str:
    """Return the parts that say anything, each once, with an empty line between."""
    return "\n\n".join(dict.fromkeys(part for part in map(trimmed, parts) if part))
