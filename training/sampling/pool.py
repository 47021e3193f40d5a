"""One channel's pool as the sampler sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from training.config.schema import TrainingConfig
from training.datasets import PreferenceRecord, Record
from training.sampling.clusters import Labels, Vectors, choose_k, cluster
from training.sampling.epochs import draw_epoch, effective_size
from training.sampling.farthest_first import basis_first
from training.sampling.recency import recency_weights
from training.sampling.rotation import rotate
from training.sampling.schedule import Channel
from training.sampling.weights import divided

SECONDS_PER_DAY = 86_400
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChannelPool:
    """A pool in arrays of shape (n,), n at least 1.

    `recency` is relative to the newest sample's, `weights` are recency times the records' own weight, scaled by the
    shares of their groups. Clusters leave these proportions as they are: they decide where in an epoch a sample
    comes. `basis` has the embeddings, shape (n, d), where an epoch begins with a farthest-first basis of
    `basis_size` samples.
    """

    age_days: Floats
    reward: Floats
    recency: Floats
    weights: Floats
    epoch_size: int
    clusters: Labels | None
    per_cluster: int
    basis: Vectors | None
    basis_size: int

    def draw_epoch(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the positions that one epoch draws, in its order; shape (`epoch_size`,) at most, none twice."""
        drawn = draw_epoch(self.weights, size=self.epoch_size, rng=rng, strata=self.clusters)
        if self.clusters is not None:
            drawn = rotate(drawn, clusters=self.clusters, per_cluster=self.per_cluster, rng=rng)
        if self.basis is not None:
            drawn = basis_first(drawn, vectors=self.basis, weights=self.weights, count=self.basis_size)
        return drawn


def channel_pool(
    records: Sequence[Record],
    *,
    channel: Channel,
    config: TrainingConfig,
    vectors: Vectors | None,
    now: datetime,
    seed: int,
) -> ChannelPool:
    """Return the pool of one channel.

    `records` are n, at least 1; `vectors` are their embeddings as unit rows, shape (n, d), or None, which leaves the
    pool without clusters. `seed`, 0 to 2**32 - 1, is that of the clusters.

    Raises:
        ValueError: if no record has a weight above 0, or every group of the pool a share of 0.

    """
    age_seconds = np.array([(now - record.created_at).total_seconds() for record in records])
    decays = config.recency_decay_seconds
    decay = decays.sft if channel == "sft" else decays.preference
    recency = recency_weights(age_seconds, fast_seconds=decay.fast, slow_seconds=decay.slow, floor=config.recency_floor)
    weights = recency * np.array([record.weight for record in records])
    shares = config.preference_shares
    groups = [record.group for record in records if isinstance(record, PreferenceRecord)]
    if shares is not None and groups:
        weights = divided(weights, groups=groups, shares=shares.model_dump())
    epoch_size = effective_size(weights)
    clusters = None
    if vectors is not None and config.diversity_k is not None:
        clusters = cluster(vectors, k=choose_k(len(records), config.diversity_k), seed=seed)
    return ChannelPool(
        age_days=age_seconds / SECONDS_PER_DAY,
        reward=np.array([record.reward for record in records]),
        recency=recency,
        weights=weights,
        epoch_size=epoch_size,
        clusters=clusters,
        per_cluster=config.diversity_per_cluster,
        basis=vectors if config.farthest_first_basis else None,
        basis_size=choose_k(len(records), config.diversity_k or "auto"),
    )
