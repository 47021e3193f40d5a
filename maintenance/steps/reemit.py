"""Older pairs of high value are offered to training again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Substr

from maintenance.journal import change_rows
from maintenance.models import RowChange
from maintenance.night import ROWS_PER_TRANSACTION, Night, StepOutcome
from maintenance.reemission import CANDIDATE, NO_CLUSTER, pick
from maintenance.unlearned import unlearned_pairs
from memory.bulk import key_list
from memory.models import PreferencePair, ReviewStatus, SftPair
from training.sampling.plan import Channel

# By channel: its pairs, the column of their reward, the text that an example shows.
_CHANNELS: Mapping[Channel, tuple[type[SftPair] | type[PreferencePair], str, str]] = {
    "sft": (SftPair, "reward_intensity", "instruction"),
    "preference": (PreferencePair, "margin", "chosen"),
}
# Nights that began within so many hours of each other, whichever way the clock was set, share one budget.
_ONE_NIGHT = timedelta(hours=20)
_EXAMPLE_LENGTH = 120


def reemit(night: Night) -> StepOutcome:
    """Clear `is_used` of a curated share of the pairs that were used, within the budget of each channel.

    Time and epoch of the last use stay. What another night re-emitted less than twenty hours away, and nobody undid,
    counts against the budget: a second night re-emits nothing more, one that was killed is made up for.
    """
    if not night.config.reemit.budget:
        return StepOutcome(skipped="reemit.budget is 0")
    counts: dict[str, int] = {}
    not_learned = 0
    examples: list[dict[str, Any]] = []
    for channel in _CHANNELS:
        unlearned = unlearned_pairs(channel, using=night.using)
        reemitted = _reemit(night, channel, unlearned)
        counts[f"{channel}_reemitted"] = len(reemitted)
        not_learned += len(unlearned.intersection(reemitted))
        examples += _examples(night, channel, reemitted, unlearned)
    return StepOutcome(counts={**counts, "did_not_stick": not_learned}, details={"examples": examples})


def _reemit(night: Night, channel: Channel, unlearned: set[int]) -> list[int]:
    """Re-emit pairs of one channel; return their keys, the most valuable first."""
    model, *_ = _CHANNELS[channel]
    budget = night.config.reemit.budget - _spent(night, model)
    if budget <= 0:
        return []
    rested = _rested(night, channel)
    picked = pick(_candidates(rested, channel, unlearned), unused=_unused(model, using=night.using), budget=budget)
    changed: set[int] = set()
    for start in range(0, len(picked), ROWS_PER_TRANSACTION):
        rows = [(key, False) for key in picked[start : start + ROWS_PER_TRANSACTION]]
        changed.update(change_rows(night, ["is_used"], rows, among=rested))
    return [key for key in picked if key in changed]


def _spent(night: Night, model: type[SftPair] | type[PreferencePair]) -> int:
    near = RowChange.objects.using(night.using).filter(
        run__started_at__gt=night.now - _ONE_NIGHT, run__started_at__lt=night.now + _ONE_NIGHT
    )
    return near.filter(step=night.step, table=model._meta.label_lower, undone_at=None).count()


def _rested(night: Night, channel: Channel) -> QuerySet[Any]:
    model, reward, _ = _CHANNELS[channel]
    rule = night.config.reemit
    return (
        model.objects.using(night.using)
        .trainable()
        .used()
        .filter(Q(**{f"{reward}__gte": rule.min_reward}) | Q(review_status=ReviewStatus.APPROVED))
        .filter(used_timestamp__lte=night.now - timedelta(days=rule.min_days_since_use))
    )


def _candidates(rested: QuerySet[Any], channel: Channel, unlearned: set[int]) -> npt.NDArray[np.void]:
    columns = ("pk", _CHANNELS[channel][1], "review_status", "used_timestamp", "embedding__cluster")
    return np.fromiter(
        (
            (
                pk,
                reward,
                review_status == ReviewStatus.APPROVED,
                pk in unlearned,
                used_at.timestamp(),
                NO_CLUSTER if cluster is None else cluster,
            )
            for pk, reward, review_status, used_at, cluster in rested.order_by("pk")
            .values_list(*columns)
            .iterator(chunk_size=10_000)
        ),
        dtype=CANDIDATE,
    )


def _unused(model: type[SftPair] | type[PreferencePair], *, using: str) -> dict[int, int]:
    """Return how many pairs wait to be trained, by cluster."""
    waiting = model.objects.using(using).trainable().unused().filter(embedding__cluster__isnull=False)
    return dict(waiting.order_by().values_list("embedding__cluster").annotate(Count("pk")))


def _examples(night: Night, channel: Channel, keys: Sequence[int], unlearned: set[int]) -> list[dict[str, Any]]:
    model, reward, text = _CHANNELS[channel]
    shown = list(keys[: night.config.report.examples])
    found = model.objects.using(night.using).filter(pk__in=key_list(shown, using=night.using))
    rows = {
        pk: values
        for pk, *values in found.values_list(
            "pk", Substr(text, 1, _EXAMPLE_LENGTH), reward, "review_status", "embedding__cluster"
        )
    }
    return [
        {
            "kind": "re-emitted",
            "about": f"{channel} pair {key}, reward {rows[key][1]:.2f}, {_why(rows[key][2], key in unlearned)}",
            "texts": [rows[key][0]],
            "channel": channel,
            "pair": key,
            "reward": rows[key][1],
            "review_status": rows[key][2],
            "cluster": rows[key][3],
            "did_not_stick": key in unlearned,
        }
        for key in shown
        if key in rows
    ]


def _why(review_status: str, did_not_stick: bool) -> str:
    return f"{review_status}{', had not stuck' * did_not_stick}"
