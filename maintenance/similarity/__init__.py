"""Near-duplicates: exact search for all pairs of rows whose cosine is above a threshold. Arrays in, arrays out.

Rows are first contracted to fewer numbers, which can only bring them closer (`sketches`). Close contractions are found
block by block or, where there are many rows, cell by cell (`blocks`, `cells`), and decided by exact cosines (`rows`).
"""

from maintenance.similarity.pairs import SimilarPairs
from maintenance.similarity.search import similar_pairs

__all__ = ["SimilarPairs", "similar_pairs"]
