"""Markdown that holds text of other people's making."""

import html
import re
from collections.abc import Iterable, Sequence

# What Markdown, GitHub's included, gives a meaning to inside a line.
_ACTIVE = re.compile(r"[\\`*_~|$\[\]]")
# An address becomes a link without any sign of Markdown's.
_ADDRESS = re.compile(r"(://|www\.)", re.IGNORECASE)


def escaped(text: str, *, longest: int) -> str:
    """Return the text on one line, cut to `longest` characters, such that Markdown shows it as it is.

    It can neither end a table's cell nor bring in a link, an image or HTML, and holds no character that is not
    printed, such as those that turn the direction of writing.
    """
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    if len(line) > longest:
        line = f"{line[: longest - 1].rstrip()}…"
    plain = html.escape(line, quote=False)
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", _ACTIVE.sub(r"\\\g<0>", plain))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already, text of others has gone through `escaped`."""
    lines = [_row(head), f"|{'---|' * len(head)}", *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
