"""Stored rows brought up to date with their messages: texts and scores, never usage or review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from memory.bulk import key_list, text_list, update_rows
from memory.extraction.plan import BatchPlan
from memory.extraction.rows import REPLAY_COLUMNS, preference_pair, replay_rows, sft_row
from memory.history import keep_originals, record
from memory.models import PreferencePair, ReplayEntry, SftPair, TrainingPair
from memory.pair_vectors import forget_vectors

PairT = TypeVar("PairT", bound=TrainingPair)

REASON = "brought up to date with its message"


def refresh(plan: BatchPlan, *, include_context: bool, using: str) -> int:
    """Bring the stored pairs and replay entries of `plan` up to date; return how many pairs had changed.

    What a person edited keeps its texts, and only its scores are renewed. The state before goes into the history, and
    the vector of a text that changed is dropped. A fixed number of queries, whatever the count.
    """
    _refresh_replays(plan, using=using)
    return _refresh_sft(plan, include_context=include_context, using=using) + _refresh_preferences(
        plan, include_context=include_context, using=using
    )


def _refresh_sft(plan: BatchPlan, *, include_context: bool, using: str) -> int:
    fresh = {
        message.id: SftPair(**sft_row(place, message, include_context=include_context, metadata={})._asdict())
        for place, message in plan.stored
    }
    messages = key_list(list(fresh), using=using)
    stored = list(SftPair.objects.using(using).filter(assistant_message__in=messages)) if fresh else []
    return _update(
        SftPair,
        [(pair, fresh[pair.assistant_message_id]) for pair in stored if pair.assistant_message_id is not None],
        texts=("instruction", "response", "content_hash"),
        others=("reward_intensity", "loss", "confidence", *(["context"] if include_context else [])),
        using=using,
    )


def _refresh_preferences(plan: BatchPlan, *, include_context: bool, using: str) -> int:
    fresh = {
        pk: preference_pair(place, preference, include_context=include_context)
        for pk, place, preference in plan.stored_preferences
    }
    stored = PreferencePair.objects.using(using).filter(pk__in=key_list(list(fresh), using=using))
    matched = [(pair, fresh[pair.pk]) for pair in stored] if fresh else []
    for pair, renewed in matched:
        if not include_context:
            renewed.prompt = pair.prompt
        renewed.prepare()
    return _update(
        PreferencePair,
        _without_collisions(matched, using=using),
        texts=("prompt", "chosen", "rejected", "content_hash", "chosen_message_id", "rejected_message_id"),
        others=("source", "margin", "confidence"),
        using=using,
    )


def _without_collisions(
    matched: Sequence[tuple[PreferencePair, PreferencePair]], *, using: str
) -> list[tuple[PreferencePair, PreferencePair]]:
    """Leave out what would become the same as another stored pair."""
    changing = [renewed.content_hash for pair, renewed in matched if renewed.content_hash != pair.content_hash]
    if not changing:
        return list(matched)
    hashes = PreferencePair.objects.using(using).filter(content_hash__in=text_list(changing, using=using))
    taken = set(hashes.values_list("content_hash", flat=True))
    free = []
    for pair, renewed in matched:
        if renewed.content_hash == pair.content_hash or renewed.content_hash not in taken:
            taken.add(renewed.content_hash)
            free.append((pair, renewed))
    return free


def _refresh_replays(plan: BatchPlan, *, using: str) -> None:
    columns = ("prompt", "prompt_hash", "response", "reward_intensity")
    positions = [REPLAY_COLUMNS.index(column) for column in columns]
    fresh = {row[0]: [row[position] for position in positions] for row in replay_rows(plan.replays)}
    if not fresh:
        return
    stored = ReplayEntry.objects.using(using).filter(message__in=key_list(list(fresh), using=using))
    changed = [
        (pk, *fresh[message])
        for pk, message, *values in stored.values_list("pk", "message_id", *columns)
        if values != fresh[message]
    ]
    update_rows(ReplayEntry, columns, changed, using=using)


def _update(
    model: type[PairT],
    matched: Sequence[tuple[PairT, PairT]],
    *,
    texts: Sequence[str],
    others: Sequence[str],
    using: str,
) -> int:
    for _, renewed in matched:
        renewed.prepare()
    valid = [(pair, renewed) for pair, renewed in matched if not renewed.problems()]
    edited = _edited_by_person(model, [pair for pair, new in valid if _differ(pair, new, texts)], texts, using=using)
    rows, renewed_texts = [], []
    for pair, renewed in valid:
        columns = others if pair.pk in edited else (*texts, *others)
        if not _differ(pair, renewed, columns):
            continue
        if pair.pk not in edited and _differ(pair, renewed, texts):
            renewed_texts.append(pair.pk)
        source = {name: renewed if name in columns else pair for name in (*texts, *others)}
        rows.append((pair.pk, *(getattr(source[name], name) for name in source)))
    if not rows:
        return 0
    changing = model._default_manager.using(using).filter(pk__in=key_list([row[0] for row in rows], using=using))
    keep_originals(changing)
    update_rows(model, (*texts, *others), rows, using=using)
    record(changing, kind="~", user=None, reason=REASON)
    forget_vectors(model, renewed_texts, using=using)
    return len(rows)


def _differ(pair: TrainingPair, renewed: TrainingPair, columns: Sequence[str]) -> bool:
    return any(getattr(pair, name) != getattr(renewed, name) for name in columns)


def _edited_by_person(model: type[PairT], pairs: Sequence[PairT], texts: Sequence[str], *, using: str) -> set[int]:
    """Return the keys of those `pairs` whose present texts were not put there by a machine."""
    if not pairs:
        return set()
    history = model.history.using(using).filter(id__in=key_list([pair.pk for pair in pairs], using=using))
    by_machine: dict[int, list[list[object]]] = {}
    latest: dict[int, list[object]] = {}
    for pk, kind, reason, *values in history.order_by("id", "history_id").values_list(
        "id", "history_type", "history_change_reason", *texts
    ):
        known = by_machine.setdefault(pk, [])
        # A record of renewed scores alone holds the texts that it found, which may be a person's.
        if kind == "+" or (reason == REASON and values != latest.get(pk)):
            known.append(values)
        latest[pk] = values
    return {
        pair.pk
        for pair in pairs
        if pair.pk in by_machine and [getattr(pair, name) for name in texts] not in by_machine[pair.pk]
    }
