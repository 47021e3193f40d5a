"""A run before it starts: its pairs, its plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from training.artifacts import starting_adapter
from training.config import TrainingConfig
from training.evaluation.evaluation_set import load_chats
from training.pool_embeddings import embed_pools, needs_embeddings
from training.run_state import PreparedRun
from training.sampling.plan import plan_run
from training.selection import retention_pairs, select_pools


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: the project, from which a config's paths start, and the artifacts."""

    project: Path
    artifacts: Path

    @property
    def models(self) -> Path:
        """Unpacked base models."""
        return self.artifacts / "models"

    @property
    def references(self) -> Path:
        """Stored reference log-probabilities."""
        return self.artifacts / "references"


def prepare(
    config: TrainingConfig,
    *,
    config_path: Path,
    places: Places,
    now: datetime | None = None,
    store: bool = True,
    with_tokenizer: bool = False,
) -> PreparedRun:
    """Select the pairs and plan the run, without loading the language model.

    With `store`, embeddings that pairs lacked are kept in the database. With `with_tokenizer`, pairs that the base
    model's chat template refuses are left out.

    Raises:
        NotEnoughPairs: a channel has fewer pairs than the config asks for, or the chat template refuses all of them.
        OutsideRootError: the config starts from an adapter outside the artifacts folder.
        ValueError: a file that the config names is missing or malformed.

    """
    adapter = starting_adapter(config, artifacts_dir=places.artifacts)
    pools = select_pools(config)
    if with_tokenizer:
        # Torch and its friends take seconds to import; a dry run does without.
        from training.renderable_pools import renderable_pools

        pools = renderable_pools(pools, config, models_dir=places.models)
    sft, preference = pools.sft, pools.preference
    path = config.retention.path
    retention = load_chats(places.project / path, "retention") if path else ()
    approved = retention_pairs(config, trained={record.id for record in sft.train})
    return PreparedRun(
        config=config,
        config_path=config_path,
        adapter=adapter,
        sft=sft,
        preference=preference,
        retention=(*retention, *approved),
        plan=plan_run(
            config,
            sft=sft.train,
            preference=preference.train,
            embeddings=embed_pools(sft.train, preference.train, store=store)
            if needs_embeddings(config)
            else {"sft": None, "preference": None},
            now=now or timezone.now(),
        ),
    )
