"""The pairs that a config selects, from the database or a file, as records for the trainer."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar

from django.conf import settings

from memory.bulk import text_list
from memory.models import PreferencePair, ReviewStatus, SftPair
from memory.models.querysets import TrainingPairQuerySet
from training.config import ChannelFilters, TrainingConfig
from training.datasets import Chat, PreferenceRecord, Record, SftRecord, held_out_key, is_held_out
from training.jsonl import PairsFile, pairs_path, preference_jsonl, sft_jsonl
from training.preference_groups import preference_group
from training.sampling.plan import Channel

_Record = TypeVar("_Record", bound=Record)

# What names a conversation in every database it is imported into.
CONVERSATION_KEY = ("conversation__source_system", "conversation__external_id")
_SIDES = tuple(f"{side}_message__{name}" for side in ("chosen", "rejected") for name in CONVERSATION_KEY)
_CHUNK = 2000


class NotEnoughPairs(ValueError):  # noqa: N818 - a standard word of the product
    """A channel has fewer pairs to train than the config asks for."""


@dataclass(frozen=True, slots=True)
class Pool(Generic[_Record]):
    """The pairs of one channel: those to train, those held out of every training, what was skipped, each in words."""

    train: tuple[_Record, ...]
    held_out: tuple[_Record, ...]
    skipped: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Pools:
    """The pairs of both channels."""

    sft: Pool[SftRecord]
    preference: Pool[PreferenceRecord]


def select_pools(config: TrainingConfig) -> Pools:
    """Return what either channel has, newest first; with `allow_one_channel`, nothing to train in one of them.

    Raises:
        NotEnoughPairs: a channel has fewer pairs than its minimum, and may not be left out or is not the only one.
        PairsFileError: a file of pairs is missing, outside of DATA_DIR or damaged.

    """
    pools = Pools(select_sft(config), select_preference(config))
    check_not_both_empty(config, len(pools.sft.train), len(pools.preference.train))
    return pools


def select_sft(config: TrainingConfig) -> Pool[SftRecord]:
    """Return the memory pairs that the config selects, newest first; see `select_pools`."""
    return checked_pool("sft", sft_pool(config), config)


def select_preference(config: TrainingConfig) -> Pool[PreferenceRecord]:
    """Return the preference pairs that the config selects, newest first; see `select_pools`."""
    return checked_pool("preference", preference_pool(config), config)


def takes_part(config: TrainingConfig, channel: Channel, *, trained: int, held_out: int) -> bool:
    """Return whether the channel is trained, with `trained` pairs to train and `held_out` ones held out.

    Raises:
        NotEnoughPairs: it has too few and may not be left out.

    """
    name, minimum = (
        ("memory", config.min_sft_pairs) if channel == "sft" else ("preference", config.min_preference_pairs)
    )
    is_off = channel == "sft" and config.sft_weight == 0
    if trained >= minimum and not is_off:
        return True
    if is_off or config.allow_one_channel:
        return False
    raise NotEnoughPairs(
        f"the {name} channel has {trained} pairs to train ({held_out} more are held out), "
        f"allowed {minimum} or more (min_{channel}_pairs); `manage.py pair_stats` shows what there is"
    )


def checked_pool(channel: Channel, pool: Pool[_Record], config: TrainingConfig) -> Pool[_Record]:
    """Return the pool, without anything to train where the channel is not trained; see `takes_part`."""
    part = takes_part(config, channel, trained=len(pool.train), held_out=len(pool.held_out))
    return pool if part else replace(pool, train=())


def check_not_both_empty(config: TrainingConfig, sft: int, preference: int) -> None:
    """Refuse a run whose channels have `sft` and `preference` pairs left to train where both are 0.

    Raises:
        NotEnoughPairs: they are.

    """
    if not sft and not preference:
        allowed = [f"{config.min_preference_pairs} or more preference pairs (min_preference_pairs)"]
        if config.sft_weight > 0:
            allowed.insert(0, f"{config.min_sft_pairs} or more memory pairs (min_sft_pairs)")
        raise NotEnoughPairs(
            f"no channel has enough pairs to train, allowed {' or '.join(allowed)}; `manage.py pair_stats` shows what "
            "there is"
        )


def sft_pool(config: TrainingConfig) -> Pool[SftRecord]:
    """Return the memory pairs that the config selects, newest first, however few."""
    share = config.evaluation.validation_share
    if config.sft_jsonl is None:
        records = list(_sft_records(config.sft_filters))
        return _divided(records, share=share, kept_out=_texts_held_out(records, share=share))
    path = pairs_path("sft_jsonl", config.sft_jsonl, data_dir=settings.DATA_DIR)
    return _from_file(sft_jsonl(path), config.sft_filters, share=share)


def preference_pool(config: TrainingConfig) -> Pool[PreferenceRecord]:
    """Return the preference pairs that the config selects, newest first, however few."""
    share = config.evaluation.validation_share
    if config.preference_jsonl is None:
        # No two preference pairs have the same text, so none can have that of a held-out one.
        kept_out = texts_with_a_side_held_out(PreferencePair.objects.trainable(), share=share)
        pool = _divided(list(_preference_records(config.preference_filters)), share=share, kept_out=kept_out)
    else:
        path = pairs_path("preference_jsonl", config.preference_jsonl, data_dir=settings.DATA_DIR)
        pool = _from_file(preference_jsonl(path), config.preference_filters, share=share)
    if (shares := config.preference_shares) is not None:
        pool = replace(pool, train=tuple(record for record in pool.train if getattr(shares, record.group) > 0))
    return pool


def retention_pairs(config: TrainingConfig, *, trained: Collection[int | None] = ()) -> tuple[tuple[Chat, Chat], ...]:
    """Return prompt and completion of approved memory pairs that earlier runs used, newest first.

    At most `retention.approved_pairs`, none of which is held out or has its id in `trained`: a pair is either learned
    or held to what the reference says.
    """
    approved = SftPair.objects.trainable().approved().used().order_by("-created_at", "-id")
    share = config.evaluation.validation_share
    found = (
        (record.prompt, record.completion)
        for record in _as_sft_records(approved)
        if record.id not in trained and not _is_held_out(record, share=share)
    )
    return tuple(islice(found, config.retention.approved_pairs))


def _sft_records(filters: ChannelFilters) -> Iterator[SftRecord]:
    return _as_sft_records(filtered_pairs(SftPair.objects.trainable(), filters))


def _as_sft_records(pairs: Any) -> Iterator[SftRecord]:
    rows = pairs.values_list(
        *("id", "instruction", "response", "context", "reward_intensity", "sampling_weight", "source", "created_at"),
        *("content_hash", *CONVERSATION_KEY),
        named=True,
    )
    for row in rows.iterator(chunk_size=_CHUNK):
        yield SftRecord(
            id=row.id,
            prompt=(*row.context, {"role": "user", "content": row.instruction}),
            completion=({"role": "assistant", "content": row.response},),
            weight=row.reward_intensity * row.sampling_weight,
            reward=row.reward_intensity,
            source=row.source,
            conversation=conversation_name(row.conversation__source_system, row.conversation__external_id),
            created_at=row.created_at,
            content_hash=row.content_hash,
        )


def _preference_records(filters: ChannelFilters) -> Iterator[PreferenceRecord]:
    rows = filtered_pairs(PreferencePair.objects.trainable(), filters).values_list(
        *("id", "prompt", "chosen", "rejected", "confidence", "sampling_weight", "margin", "source", "review_status"),
        *("created_at", "content_hash", *CONVERSATION_KEY),
        named=True,
    )
    for row in rows.iterator(chunk_size=_CHUNK):
        yield PreferenceRecord(
            id=row.id,
            prompt=tuple(row.prompt),
            chosen=({"role": "assistant", "content": row.chosen},),
            rejected=({"role": "assistant", "content": row.rejected},),
            weight=row.confidence * row.sampling_weight,
            reward=row.margin,
            source=row.source,
            group=preference_group(row.source, approved=row.review_status == ReviewStatus.APPROVED),
            conversation=conversation_name(row.conversation__source_system, row.conversation__external_id),
            created_at=row.created_at,
            content_hash=row.content_hash,
        )


def filtered_pairs(rows: TrainingPairQuerySet[Any], filters: ChannelFilters) -> Any:
    """Return those of `rows` that the filters select, newest first."""
    if filters.participant is not None:
        rows = rows.filter(conversation__participant__in=filters.participant)
    return rows.order_by("-created_at", "-id").matching(  # type: ignore[attr-defined]  # of both channels' query sets, not of their base
        source=filters.source,
        is_used=False if filters.unused_only else None,
        since=filters.since,
        min_confidence=filters.min_confidence,
        min_reward=filters.min_reward,
        review_status=filters.review_status,
        limit=filters.limit,
    )


def _from_file(file: PairsFile[_Record], filters: ChannelFilters, *, share: float) -> Pool[_Record]:
    newest_first = sorted(file.records, key=lambda record: record.created_at, reverse=True)
    pool = _divided(newest_first[: filters.limit], share=share)
    return replace(pool, skipped=file.bad_lines)


def _divided(records: Sequence[_Record], *, share: float, kept_out: Collection[str] = ()) -> Pool[_Record]:
    """Return the records to train and the held-out ones; a text that is held out is trained nowhere.

    `kept_out` are content hashes that are held out besides those of `records`.
    """
    held_out = tuple(record for record in records if _is_held_out(record, share=share))
    texts = {record.content_hash for record in held_out}.union(kept_out)
    return Pool(tuple(each for each in records if each.content_hash not in texts and each.weight > 0), held_out)


def _texts_held_out(records: Sequence[SftRecord], *, share: float) -> set[str]:
    """Return the content hashes among `records` that a held-out conversation has as well, whatever the filters.

    Without it, a text could be trained tonight because a filter hides its held-out twin, and measured tomorrow.
    """
    hashes = text_list([record.content_hash for record in records], using=SftPair.objects.db)
    rows = SftPair.objects.trainable().filter(content_hash__in=hashes).values_list("content_hash", *CONVERSATION_KEY)
    return {
        text
        for text, system, external_id in rows.iterator(chunk_size=_CHUNK)
        if is_held_out(conversation_name(system, external_id) or text, share=share)
    }


def texts_with_a_side_held_out(pairs: TrainingPairQuerySet[PreferencePair], *, share: float) -> set[str]:
    """Return the content hashes of those of `pairs` of which an answer was given in a held-out conversation.

    Only the replay buffer sets answers of two conversations against each other. Where the pair's own conversation is
    trained and the other one held out, the pair is neither trained nor measured: one of its answers would be learned.
    """
    if not share:
        return set()
    replayed = pairs.filter(source=PreferencePair.Source.REPLAY).values_list("content_hash", *_SIDES)
    return {
        text
        for text, *sides in replayed.iterator(chunk_size=_CHUNK)
        for name in (conversation_name(*sides[:2]), conversation_name(*sides[2:]))
        if name is not None and is_held_out(name, share=share)
    }


def _is_held_out(record: Record, *, share: float) -> bool:
    return is_held_out(held_out_key(record), share=share)


def conversation_name(source_system: str | None, external_id: str | None) -> str | None:
    """Return the name of a conversation in every database; None where the pair has none."""
    return None if source_system is None else f"{source_system}:{external_id}"
