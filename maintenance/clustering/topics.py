"""What each cluster is about, how large it is, what of it still waits to be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from maintenance.clustering.labels import NO_CLUSTER
from maintenance.clustering.members import Members, read_texts
from maintenance.clustering.titles import cluster_titles

Topic = Mapping[str, Any]

# Texts of a cluster from which its title comes.
_TEXTS_PER_CLUSTER = 200
# Clusters that the report names of each kind.
_NAMED = 5


def name_clusters(members: Members, numbers: Sequence[int], *, using: str) -> list[dict[str, Any]]:
    """Return number and title of each cluster, each with members, ascending.

    A title comes from texts at even distances among all of its cluster.
    """
    order = np.argsort(members.clusters, kind="stable")
    starts = np.searchsorted(members.clusters[order], [*numbers, numbers[-1] + 1])
    chosen = [
        order[np.linspace(start, end - 1, num=min(end - start, _TEXTS_PER_CLUSTER)).round().astype(np.int64)]
        for start, end in pairwise(starts)
    ]
    texts, clusters = read_texts(members.of(np.sort(np.concatenate(chosen))), using=using)
    titles = cluster_titles(texts, clusters, numbers)
    return [{"number": number, "title": title} for number, title in zip(numbers, titles, strict=True)]


def measure_clusters(members: Members, named: Sequence[Topic]) -> list[dict[str, Any]]:
    """Return number, title, size, size by channel and unused pairs of each cluster, as `Clustering.clusters` has it.

    `named` has at least number and title; members without a cluster do not count.
    """
    most = max(topic["number"] for topic in named) + 1
    known = members.of(members.clusters != NO_CLUSTER)

    def sizes(chosen: npt.NDArray[np.bool_]) -> list[int]:
        found: list[int] = np.bincount(known.clusters[chosen], minlength=most).tolist()
        return found

    sft, preference, unused = sizes(~known.is_preference), sizes(known.is_preference), sizes(known.is_unused)
    return [
        {
            "number": number,
            "title": topic["title"],
            "size": sft[number] + preference[number],
            "sft": sft[number],
            "preference": preference[number],
            "unused": unused[number],
        }
        for topic in named
        for number in [topic["number"]]
    ]


def coverage(topics: Sequence[Topic]) -> float:
    """Return the share of the clusters that hold an unused pair, 0 to 1."""
    return sum(1 for topic in topics if topic["unused"]) / len(topics)


def topic_details(topics: Sequence[Topic], before: Sequence[Topic], *, drift: float | None) -> dict[str, Any]:
    """Return what the report tells: coverage, drift, the largest clusters, those that grew most since `before`.

    A cluster that `before` did not have grew from nothing; where there was no clustering, nothing grew.
    """
    sizes = {topic["number"]: topic["size"] for topic in before}
    largest = [_line(topic, topic["size"]) for topic in topics]
    grown = [_line(topic, topic["size"] - sizes.get(topic["number"], 0)) for topic in topics] if before else []
    found = {"largest": _most(largest), "grown": _most([line for line in grown if line["pairs"] > 0])}
    words = {"largest": "Largest topics", "grown": "Grew most since the last clustering"}
    return {
        "coverage": coverage(topics),
        "drift": drift,
        **found,
        "notes": [
            f"{words[name]}: " + ", ".join(f"{line['title']} ({line['pairs']:,})" for line in lines)
            for name, lines in found.items()
            if lines
        ],
    }


def _line(topic: Topic, pairs: int) -> dict[str, Any]:
    return {"number": topic["number"], "title": topic["title"], "pairs": pairs}


def _most(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(lines, key=lambda line: (-line["pairs"], line["number"]))[:_NAMED]
