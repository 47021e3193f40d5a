"""What the report tells of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maintenance.clustering.labels import NO_CLUSTER
from maintenance.clustering.members import Members
from maintenance.clustering.topics import coverage, measure_clusters, name_clusters, topic_details
from tests.memory import rows


def topic(number: int, size: int, **fields: Any) -> dict[str, Any]:
    return {"number": number, "title": f"topic {number}", "size": size, "unused": 0, **fields}


def test_clusters_are_counted_by_channel_and_use() -> None:
    members = Members(
        embeddings=np.arange(1, 6),
        pairs=np.array([2, 4, 3, 6, 8]),
        clusters=np.array([4, 4, 4, 9, NO_CLUSTER], np.int32),
        is_unused=np.array([True, False, True, False, True]),
    )
    named = [{"number": 4, "title": "bread"}, {"number": 9, "title": "dogs"}]
    found = measure_clusters(members, named)
    assert found == [
        {"number": 4, "title": "bread", "size": 3, "sft": 2, "preference": 1, "unused": 2},
        {"number": 9, "title": "dogs", "size": 1, "sft": 1, "preference": 0, "unused": 0},
    ]
    assert coverage(found) == 0.5


def test_the_largest_are_named_and_those_that_grew_most() -> None:
    before = [topic(number, 10) for number in range(6)]
    now = [topic(number, 10 + number) for number in range(6)] + [topic(7, 2)]
    found = topic_details(now, before, drift=0.25)
    assert [line["number"] for line in found["largest"]] == [5, 4, 3, 2, 1]
    assert [(line["number"], line["pairs"]) for line in found["grown"]] == [(5, 5), (4, 4), (3, 3), (2, 2), (7, 2)]
    assert (found["coverage"], found["drift"]) == (0.0, 0.25)
    assert found["notes"] == [
        "Largest topics: topic 5 (15), topic 4 (14), topic 3 (13), topic 2 (12), topic 1 (11)",
        "Grew most since the last clustering: topic 5 (5), topic 4 (4), topic 3 (3), topic 2 (2), topic 7 (2)",
    ]


def test_a_cluster_that_did_not_grow_is_not_named_as_one_that_did() -> None:
    found = topic_details([topic(0, 5), topic(1, 9), topic(2, 10)], [topic(0, 5), topic(1, 10), topic(2, 9)], drift=0.1)
    assert [line["number"] for line in found["grown"]] == [2]


def test_where_there_was_no_clustering_nothing_grew() -> None:
    found = topic_details([topic(0, 1200)], [], drift=None)
    assert found["grown"] == []
    assert found["notes"] == ["Largest topics: topic 0 (1,200)"]


@pytest.mark.django_db
def test_a_title_comes_from_texts_of_all_of_its_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maintenance.clustering.topics._TEXTS_PER_CLUSTER", 3)
    answers = ["Flour.", "Flour.", "Oven.", "Oven.", "Yeast."]
    pairs = [rows.sft_pair(instruction="What is it?", response=answer) for answer in answers]
    preference = rows.preference_pair(prompt=[{"role": "user", "content": "A dog?"}], chosen="Pixel.")
    members = Members(
        embeddings=np.arange(1, 7),
        pairs=np.array([2 * pair.pk for pair in pairs] + [2 * preference.pk + 1]),
        clusters=np.array([2, 2, 2, 2, 2, 5], np.int32),
        is_unused=np.ones(6, np.bool_),
    )
    assert name_clusters(members, [2, 5], using="default") == [
        {"number": 2, "title": "flour oven yeast"},
        {"number": 5, "title": "dog pixel"},
    ]
