"""Cells that a spreadsheet would take for a formula, guarded on the way out and as they were on the way in."""

import re

# What makes a spreadsheet calculate or fetch something, also in full width and behind white space that it drops.
_STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{_STARTS}]")
_GUARDED = re.compile(f"'+[{_STARTS}]")


def guarded(cell: str) -> str:
    """Return `cell` with an apostrophe in front if a spreadsheet would take it for a formula.

    A cell that begins with apostrophes before such a sign gets one more, so that `unguarded` gives back what was there.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """Return `cell` without the apostrophe that `guarded` put in front."""
    return cell[1:] if _GUARDED.match(cell) else cell
