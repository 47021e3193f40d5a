"""A cluster is called by its most typical words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from maintenance.clustering.titles import cluster_titles

COMMON = "Can you tell me about the weather today? User, I don't think they'll need 1234 things."


def titles(**texts: list[str]) -> list[str]:
    """Return the titles of clusters by their texts; cluster `c7` has the number 7."""
    numbers = [int(name[1:]) for name in texts]
    flat = [(text, number) for number, found in zip(numbers, texts.values(), strict=True) for text in found]
    return cluster_titles([text for text, _ in flat], np.array([number for _, number in flat], np.int32), numbers)


def test_words_of_a_cluster_that_others_lack_are_its_title() -> None:
    found = titles(
        c3=[f"{COMMON} Bread from sourdough.", f"{COMMON} Sourdough starter for bread.", f"{COMMON} Starter, bread!"],
        c7=[f"{COMMON} My dog Pixel barks.", f"{COMMON} Pixel the dog sleeps.", f"{COMMON} Pixel sleeps."],
    )
    # Words that count the same come in the order of the alphabet.
    assert found == ["bread sourdough starter", "pixel dog sleeps"]


def test_a_word_of_all_clusters_is_no_title_while_there_are_others() -> None:
    found = titles(c0=["weather rain", "weather rain"], c1=["weather snow", "weather snow"])
    assert [title.split()[0] for title in found] == ["rain", "snow"]


def test_stop_words_numbers_and_single_letters_are_out() -> None:
    assert titles(c0=["The user and the assistant: 2024, x, v2, don't, I'll, snake_case, yes!"], c1=["rain"]) == [
        "cluster 0",
        "rain",
    ]


def test_one_text_that_repeats_itself_names_nothing() -> None:
    assert titles(c0=["spam " * 90, "bread oven flour", "bread oven flour"], c1=["rain"])[0] == "bread flour oven"


@pytest.mark.parametrize(
    ("texts", "title"),
    [
        (["Wie viel Käse für Fondue?", "KÄSE, Käse"], "käse fondue für"),
        # Letters with their accents apart, as some systems write them.
        (["cafe\u0301 creme\u0300", "café"], "café cremè"),
        (["Собака лает", "собака"], "собака лает"),
        (["天気 予報", "天気"], "天気 予報"),
        (["🙂🙃 2024 !!!"], "cluster 0"),
        ([""], "cluster 0"),
    ],
)
def test_other_scripts_have_words_too(texts: list[str], title: str) -> None:
    found = titles(c0=texts, c1=["rain"])[0]
    assert found.split()[0] == title.split()[0]
    assert sorted(found.split()) == sorted(title.split())


def test_without_any_word_clusters_are_called_by_their_numbers() -> None:
    assert titles(c3=["the", "123"], c7=["?"]) == ["cluster 3", "cluster 7"]


def test_a_cluster_without_texts_is_called_by_its_number() -> None:
    assert cluster_titles(["rain"], np.array([2], np.int32), [1, 2]) == ["cluster 1", "rain"]
    assert cluster_titles([], np.array([], np.int32), [1]) == ["cluster 1"]


def test_the_step_is_imported_without_scikit_learn_and_scipy() -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import django; django.setup(); "
        "import maintenance.steps.recluster; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
