"""Which archived pairs go into one file: a pair that stands for others goes with all of them, and after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

PairT = TypeVar("PairT")


def complete_groups(links: Mapping[int, int | None], staying: Iterable[int]) -> list[list[int]]:
    """Return groups of pairs that can go without leaving any behind that they stand for.

    Args:
        links: the pairs that may go, by key, each with the pair that stands for it, None where it stands for itself.
        staying: pairs that others, which do not go, are merged into.

    Returns:
        Groups in the order of their survivors' keys. Within one, whoever is merged into another comes before it, so
        that pairs may go one after the other. A pair whose survivor stays is a group by itself.

    """
    kept: set[int] = set()
    for key in staying:
        # A survivor that cannot go keeps the one that stands for it, where chains are longer than one.
        at: int | None = key
        while at is not None and at not in kept:
            kept.add(at)
            at = links.get(at)
    going = {key: into for key, into in links.items() if key not in kept}
    groups: dict[int, list[tuple[int, int]]] = {}
    for key in sorted(going):
        root, depth = _root(key, going)
        groups.setdefault(root, []).append((-depth, key))
    return [[key for _, key in sorted(groups[root])] for root in sorted(groups)]


def whole_files(groups: Iterable[Sequence[PairT]], *, pairs: int) -> Iterator[list[PairT]]:
    """Yield the pairs of `groups` in files of about `pairs` each; a group is never divided."""
    file: list[PairT] = []
    for group in groups:
        if file and len(file) + len(group) > pairs:
            yield file
            file = []
        file += group
    if file:
        yield file


def _root(key: int, links: Mapping[int, int | None]) -> tuple[int, int]:
    """Return the last pair of the chain that begins at `key` and how far it is."""
    depth, seen = 0, {key}
    while (into := links.get(key)) is not None and into in links and into not in seen:
        key, depth = into, depth + 1
        seen.add(key)
    return key, depth
