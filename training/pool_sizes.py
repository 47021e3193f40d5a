"""How many pairs a config selects, counted without their texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memory.models import PreferencePair, ReviewStatus, SftPair
from memory.models.querysets import TrainingPairQuerySet
from training.config import ChannelFilters, TrainingConfig
from training.config.schema import PreferenceShares
from training.datasets import is_held_out
from training.preference_groups import preference_group
from training.selection import (
    CONVERSATION_KEY,
    check_not_both_empty,
    conversation_name,
    filtered_pairs,
    preference_pool,
    sft_pool,
    takes_part,
    texts_with_a_side_held_out,
)

_CHUNK = 2000
_COLUMNS = ("content_hash", *CONVERSATION_KEY, "confidence", "source", "review_status")


@dataclass(frozen=True, slots=True)
class PoolSize:
    """Pairs of a channel: those to train, those held out of every training."""

    trained: int
    held_out: int


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """The sizes of both channels' pools."""

    sft: PoolSize
    preference: PoolSize


def pool_sizes(config: TrainingConfig, *, using: str, unused_only: bool = False) -> PoolSizes:
    """Return how many pairs `training.selection` would find for the config in the database `using`.

    With `unused_only`, pairs that a run has used are left out whatever the config says; those of a file carry no such
    mark, and all count.

    Raises:
        PairsFileError: a file of pairs is missing, outside of DATA_DIR or damaged.

    """
    share = config.evaluation.validation_share
    changed = {"unused_only": True} if unused_only else {}
    if config.sft_jsonl is None:
        memory = SftPair.objects.using(using).trainable()
        sft = _size(memory, config.sft_filters.model_copy(update=changed), share=share)
    else:
        found = sft_pool(config)
        sft = PoolSize(len(found.train), len(found.held_out))
    if config.preference_jsonl is None:
        reward = PreferencePair.objects.using(using).trainable()
        filters = config.preference_filters.model_copy(update=changed)
        preference = _size(reward, filters, share=share, shares=config.preference_shares)
    else:
        of_file = preference_pool(config)
        preference = PoolSize(len(of_file.train), len(of_file.held_out))
    return PoolSizes(sft, preference)


def check_sizes(config: TrainingConfig, sizes: PoolSizes) -> None:
    """Refuse pools of these sizes where `training.selection.select_pools` would.

    Raises:
        NotEnoughPairs: a channel has fewer pairs than its minimum, and may not be left out or is not the only one.

    """
    sft, preference = sizes.sft, sizes.preference
    has_sft = takes_part(config, "sft", trained=sft.trained, held_out=sft.held_out)
    has_preference = takes_part(config, "preference", trained=preference.trained, held_out=preference.held_out)
    check_not_both_empty(config, has_sft * sft.trained, has_preference * preference.trained)


def _size(
    trainable: TrainingPairQuerySet[Any],
    filters: ChannelFilters,
    *,
    share: float,
    shares: PreferenceShares | None = None,
) -> PoolSize:
    # A text that is held out is trained from no other conversation, whatever the filters.
    held_out_texts = {text for text, is_out, _ in _rows(trainable, share=share) if is_out} if share else set()
    is_preference = trainable.model is PreferencePair
    if is_preference:
        held_out_texts |= texts_with_a_side_held_out(trainable, share=share)
    trained = held_out = 0
    for text, is_out, (confidence, source, review_status) in _rows(filtered_pairs(trainable, filters), share=share):
        held_out += is_out
        if text in held_out_texts or (is_preference and confidence == 0):
            continue
        if shares is not None:
            group = preference_group(source, approved=review_status == ReviewStatus.APPROVED)
            if getattr(shares, group) == 0:
                continue
        trained += 1
    return PoolSize(trained, held_out)


def _rows(pairs: Any, *, share: float) -> Iterator[tuple[str, bool, tuple[float, str, str]]]:
    """Yield the hash of each pair's text, whether its conversation is held out, and what else decides on it."""
    for text, system, external_id, *rest in pairs.values_list(*_COLUMNS).iterator(chunk_size=_CHUNK):
        yield text, is_held_out(conversation_name(system, external_id) or text, share=share), tuple(rest)
