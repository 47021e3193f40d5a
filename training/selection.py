"""The rows that a config selects, as records for the trainer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from memory.models import PreferencePair, SftPair
from memory.models.querysets import TrainingPairQuerySet
from training.config import ChannelFilters, TrainingConfig
from training.datasets import PreferenceRecord, SftRecord, is_held_out

_Record = TypeVar("_Record", SftRecord, PreferenceRecord)

# What names a conversation in every database it is imported into.
_CONVERSATION_KEY = ("conversation__source_system", "conversation__external_id")


class NotEnoughPairs(ValueError):  # noqa: N818 - a standard word of the product
    """A channel has fewer pairs to train than the config asks for."""


@dataclass(frozen=True, slots=True)
class Pool(Generic[_Record]):
    """The pairs of one channel: those to train, those held out of every training."""

    train: tuple[_Record, ...]
    held_out: tuple[_Record, ...]


def select_sft(config: TrainingConfig) -> Pool[SftRecord]:
    """Return the memory pairs that the config selects, newest first.

    Raises:
        NotEnoughPairs: fewer than `min_sft_pairs` are left to train.

    """
    rows = _filtered(SftPair.objects.trainable(), config.sft_filters).values_list(
        *("id", "instruction", "response", "context", "reward_intensity", "sampling_weight", "created_at"),
        *("content_hash", *_CONVERSATION_KEY),
    )
    keyed = (
        (
            _key(row[-2:], fallback=row[7]),
            SftRecord(
                id=row[0],
                prompt=(*row[3], {"role": "user", "content": row[1]}),
                completion=({"role": "assistant", "content": row[2]},),
                weight=row[4] * row[5],
                created_at=row[6],
                content_hash=row[7],
            ),
        )
        for row in rows.iterator(chunk_size=2000)
    )
    return _split("memory", keyed, config, minimum=config.min_sft_pairs, key="min_sft_pairs")


def select_preference(config: TrainingConfig) -> Pool[PreferenceRecord]:
    """Return the preference pairs that the config selects, newest first.

    Raises:
        NotEnoughPairs: fewer than `min_preference_pairs` are left to train.

    """
    rows = _filtered(PreferencePair.objects.trainable(), config.preference_filters).values_list(
        *("id", "prompt", "chosen", "rejected", "confidence", "sampling_weight", "created_at"),
        *("content_hash", *_CONVERSATION_KEY),
    )
    keyed = (
        (
            _key(row[-2:], fallback=row[7]),
            PreferenceRecord(
                id=row[0],
                prompt=tuple(row[1]),
                chosen=({"role": "assistant", "content": row[2]},),
                rejected=({"role": "assistant", "content": row[3]},),
                weight=row[4] * row[5],
                created_at=row[6],
                content_hash=row[7],
            ),
        )
        for row in rows.iterator(chunk_size=2000)
    )
    return _split("preference", keyed, config, minimum=config.min_preference_pairs, key="min_preference_pairs")


def _filtered(rows: TrainingPairQuerySet[Any], filters: ChannelFilters) -> Any:
    if filters.approved_only:
        rows = rows.approved()
    if filters.participant is not None:
        rows = rows.filter(conversation__participant__in=filters.participant)
    return rows.order_by("-created_at", "-id").matching(  # type: ignore[attr-defined]  # of both channels' query sets, not of their base
        source=filters.source,
        is_used=False if filters.unused_only else None,
        since=filters.since,
        min_confidence=filters.min_confidence,
        limit=filters.limit,
    )


def _key(names: tuple[str | None, str | None], *, fallback: str) -> str:
    # A pair that came without its conversation is its own.
    return fallback if names[0] is None else f"{names[0]}:{names[1]}"


def _split(
    channel: str, keyed: Iterable[tuple[str, _Record]], config: TrainingConfig, *, minimum: int, key: str
) -> Pool[_Record]:
    share = config.evaluation.validation_share
    train: list[_Record] = []
    held_out: list[_Record] = []
    for name, record in keyed:
        (held_out if is_held_out(name, share=share) else train).append(record)
    trainable = sum(record.weight > 0 for record in train)
    if trainable < minimum:
        raise NotEnoughPairs(
            f"the {channel} channel has {trainable} pairs to train ({len(held_out)} more are held out), "
            f"allowed {minimum} or more ({key}); `manage.py pair_stats` shows what there is"
        )
    return Pool(tuple(record for record in train if record.weight > 0), tuple(held_out))
