"""Where the benchmarks write what they have measured."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def write_section(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replace the table between `<!-- begin NAME -->` and `<!-- end NAME -->` in docs/benchmarks.md."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    text = PAGE.read_text(encoding="utf-8")
    marked = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{PAGE}: has no section {name!r}")
    table = "\n".join(lines) + "\n"
    PAGE.write_text(marked.sub(lambda found: found[1] + table + found[2], text), encoding="utf-8")
