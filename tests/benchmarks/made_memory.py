"""A memory of made-up pairs, for benchmarks of what a night and the pages do with many of them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

DIMENSION = 384
TOPICS = 4_096
# A little of it is past the retention of 730 days.
OLDEST_DAYS = 735

_WORDS = np.array([f"{a}{b}{c}" for a in "bdfgklmn" for b in ("an", "ed", "il", "or", "us") for c in "ptrsk"])
_CHUNK = 50_000
# What differs between pairs, then what is the same for all of them.
_COLUMNS = (
    *("id", "instruction", "response", "content_hash", "reward_intensity", "created_at"),
    *("is_used", "used_timestamp", "training_epoch"),
    *("source", "context", "metadata", "confidence", "sampling_weight", "review_status", "category"),
)
_UNUSED = (False, None, None)
_SAME: tuple[object, ...] = ("import", [], {}, 1.0, 1.0, "pending", "")


def fill_memory(random: np.random.Generator, count: int) -> None:
    """Store `count` more pairs with their vectors, and the uses of those that were trained."""
    from memory.bulk import insert_rows, reserve_ids
    from memory.embeddings import embedder_version
    from memory.models import PairEmbedding, SftPair
    from memory.text import content_hash
    from training.models import PairUse, TrainingRun

    run, _ = TrainingRun.objects.get_or_create(config_path="bench", defaults={"config": {}, "status": "succeeded"})
    topics = _units(np.random.default_rng(1).normal(size=(TOPICS, DIMENSION)))
    version, now = embedder_version(), datetime.now(UTC)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        topic = random.integers(TOPICS, size=size)
        vectors = _units(0.83 * topics[topic] + 0.56 * _units(random.normal(size=(size, DIMENSION))))
        texts = [" ".join(words) for words in _WORDS[random.integers(len(_WORDS), size=(size, 40))]]
        near = np.flatnonzero(random.random(size) < 0.05)
        near = near[near > 0]
        vectors[near] = _units(vectors[near - 1] + 0.28 * _units(random.normal(size=(len(near), DIMENSION))))
        for row in near.tolist():
            texts[row] = f"{texts[row - 1]} {'7' if row % 25 == 0 else 'too'}"
        used = random.random(size) < 0.3
        keys = list(reserve_ids(SftPair, size))
        said = [now - timedelta(days=float(age)) for age in random.uniform(1, OLDEST_DAYS, size=size)]
        halves = [(text[:80], text[80:]) for text in texts]
        insert_rows(
            SftPair,
            _COLUMNS,
            [
                (
                    *(key, *half, content_hash(*half), float(reward), when),
                    *((True, when, 0) if was_used else _UNUSED),
                    *_SAME,
                )
                for key, half, reward, when, was_used in zip(keys, halves, random.random(size), said, used, strict=True)
            ],
        )
        insert_rows(
            PairEmbedding,
            ("sft_pair_id", "embedder", "dimension", "vector"),
            [(key, version, DIMENSION, row.astype("<f2").tobytes()) for key, row in zip(keys, vectors, strict=True)],
        )
        insert_rows(
            PairUse,
            ("run_id", "sft_pair_id", "step", "epoch", "weight", "content_hash", "used_at"),
            [
                (run.pk, key, 1 + key, 0, 0.1, "0" * 64, when)
                for key, when, was_used in zip(keys, said, used, strict=True)
                if was_used
            ],
        )


def _units(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    units: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units
