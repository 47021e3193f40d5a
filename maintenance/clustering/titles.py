"""Titles of clusters: their most typical words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_WORDS = 3
# Words of letters alone, of a length that a title can hold.
_TOKEN = r"\b[^\W\d_]{2,30}\b"  # noqa: S105 - not that kind of token
# What conversations with an assistant are full of, besides scikit-learn's list: halves of "don't" and "I'll", too.
_STOP_WORDS = (
    "ain assistant couldn didn does doesn doing don hadn hasn haven hello hey isn just like ll make need okay please "
    "really shouldn sure tell thank thanks user ve want wasn weren wouldn yeah yes"
)


def cluster_titles(texts: Sequence[str], clusters: npt.NDArray[np.int32], numbers: Sequence[int]) -> list[str]:
    """Return a title for each of `numbers`: the three most typical words of its texts.

    Class-based TF-IDF (Grootendorst 2022, arXiv 2203.05794): tf · log(1 + A / f), tf the word's share of the
    cluster's words, f how often it occurs in all of them, A how many words a cluster has on average. A word counts once
    a text, so that one text that repeats itself names no topic. Without any word a cluster is called by its number.

    Args:
        texts: some of each cluster, n of them.
        clusters: the number of each text's cluster, shape (n,).
        numbers: the clusters to name.

    """
    # scikit-learn takes seconds to import, which every command would pay.
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    named = [f"cluster {number}" for number in numbers]
    stop_words = sorted(ENGLISH_STOP_WORDS.union(_STOP_WORDS.split()))
    vectorizer = CountVectorizer(preprocessor=_folded, token_pattern=_TOKEN, stop_words=stop_words, binary=True)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:
        # Its word for texts in which there is none.
        return named
    words = vectorizer.get_feature_names_out()
    places = {number: place for place, number in enumerate(numbers)}
    members = (np.ones(len(texts)), ([places[number] for number in clusters.tolist()], np.arange(len(texts))))
    totals = csr_matrix(members, shape=(len(numbers), len(texts))) @ counts
    sizes = np.asarray(totals.sum(axis=1)).ravel()
    rarity = np.log1p(sizes.mean() / np.asarray(totals.sum(axis=0)).ravel())
    for place in range(len(numbers)):
        row = totals[[place]]
        # By score, and equal ones in the order of the alphabet.
        order = np.lexsort((row.indices, -row.data * rarity[row.indices]))[:_WORDS]
        if len(order):
            named[place] = " ".join(words[row.indices[order]])
    return named


def _folded(text: str) -> str:
    """Return `text` with one form for letters that look the same, an accent a part of its letter, in lower case."""
    return unicodedata.normalize("NFKC", text).lower()
