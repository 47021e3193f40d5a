"""Pairs whose vectors a test chooses by an angle, and nights that merge them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from maintenance.models import MaintenanceStep
from maintenance.night import Night, StepOutcome
from maintenance.steps.merge import merge
from memory.embeddings import Embedder, to_bytes
from memory.models import PairEmbedding, PreferencePair, SftPair, TrainingPair
from tests.maintenance import nights
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder, refuse_to_load

BEGIN = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)


def vector(angle: float) -> bytes:
    """Return a vector as it is stored; two have the cosine of the angle, in degrees, between them."""
    unit = np.zeros(FakeEmbedder.dimension)
    unit[:2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return to_bytes(unit)


def embed(pair: TrainingPair, angle: float, **fields: Any) -> PairEmbedding:
    """Store a new vector for a pair in the place of the one that it has."""
    owner = {"sft_pair": pair} if isinstance(pair, SftPair) else {"preference_pair": pair}
    PairEmbedding.objects.filter(**owner).delete()
    values = {"embedder": FakeEmbedder.version, "dimension": FakeEmbedder.dimension, "vector": vector(angle), **fields}
    return PairEmbedding.objects.create(**owner, **values)


def memory(response: str, angle: float | None = 0, *, day: int = 0, **fields: Any) -> SftPair:
    """Store a memory pair that was said on a day; without an angle it has no vector."""
    pair = rows.sft_pair(**{"response": response, "created_at": BEGIN + timedelta(days=day), **fields})
    if angle is not None:
        embed(pair, angle)
    return pair


def preference(chosen: str, rejected: str, angle: float | None = 0, *, day: int = 0, **fields: Any) -> PreferencePair:
    """Store a preference pair that was said on a day."""
    values = {"chosen": chosen, "rejected": rejected, "created_at": BEGIN + timedelta(days=day), **fields}
    pair = rows.preference_pair(**values)
    if angle is not None:
        embed(pair, angle)
    return pair


def merge_night(
    *,
    days: float = 0,
    load: Callable[[], Embedder] = refuse_to_load,
    meanwhile: Callable[[], object] | None = None,
    examples: int = 5,
    **config: Any,
) -> StepOutcome:
    """Merge as a night of so many days after `BEGIN` does; `meanwhile` happens once, between reading and writing."""
    acts = [] if meanwhile is None else [meanwhile]

    def progress(text: str, share: float) -> None:
        if "judged" in text and acts:
            acts.pop()()

    night = nights.night("merge", now=BEGIN + timedelta(days=days), merge=config, report={"examples": examples})
    outcome = merge(replace(night, load=load, progress=progress))
    record(night, outcome)
    assert not acts, "nothing was judged, so that nothing happened meanwhile"
    return outcome


def record(night: Night, outcome: StepOutcome) -> None:
    """Record the end of a step as the night does."""
    step = MaintenanceStep.objects.get(run=night.run, name="merge")
    step.counts, step.details = dict(outcome.counts), dict(outcome.details)
    step.save()


def standing(*pairs: TrainingPair) -> list[int | None]:
    """Return for each pair the place of the one that it was merged into, None where it stands for itself."""
    places = {pair.pk: place for place, pair in enumerate(pairs)}
    found: list[int | None] = []
    for pair in pairs:
        pair.refresh_from_db()
        found.append(None if pair.merged_into_id is None else places[pair.merged_into_id])
    return found
